"""What the archive knows of one stored instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vna.domain.identity import InstanceUids
from vna.domain.origin import Origin

# A data set in the DICOM JSON model (PS3.18 F.2): {"00100010": {"vr": "PN", "Value": [...]}}.
Attributes = dict[str, Any]


class SharedElement(dict[str, Any]):
    """An element of the DICOM JSON model that several instances share, since its bytes were the same in each.

    Nine in ten elements of an instance are those of the one before. Nobody may
    alter one; whoever derives something from it keeps it here for the next instance.

    Attributes
    ----------
    view
        What normalisation makes of it: the element to show (``None`` when not yet
        known), and what was changed, as value before, value after, and rule.
    texts
        Its canonical texts (:mod:`vna.normalise.terms`), ``None`` when not yet known.
    """

    __slots__ = ("texts", "view")

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.view: tuple[dict[str, Any], tuple[tuple[Any, Any, str], ...]] | None = None
        self.texts: tuple[str, ...] | None = None


# Canonical texts by path, see vna.normalise.terms: {"00100020": ("12345",)}.
Terms = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class IndexedInstance:
    """One instance as the index receives it. Everything here can be rebuilt from the object store.

    Attributes
    ----------
    uids
        The UIDs after canonicalisation; what identities and keys derive from.
    sop_class, transfer_syntax
        SOP Class UID, and Transfer Syntax UID as stored.
    digest, size
        Digest of the content (:func:`vna.ingest.filemeta.content_digest`, 64 hex
        digits), and length in bytes of the Part-10 file as kept.
    received_us
        When the archive had it, in microseconds since 1970 UTC.
    origin
        Who sent it.
    key
        Key of the bytes in the object store.
    attributes
        Normalised attributes in the DICOM JSON model, bulk values left out.
    terms
        Canonical texts for matching, by path.
    words
        Folded words for the free-text search over study and series.
    """

    uids: InstanceUids
    sop_class: str
    transfer_syntax: str
    digest: str
    size: int
    received_us: int
    origin: Origin
    key: str
    attributes: Attributes
    terms: Terms = field(default_factory=dict)
    words: tuple[str, ...] = ()

    @property
    def precedence(self) -> tuple[int, str]:
        """Which of several contents under the same UIDs is current: the smallest, so the first received."""
        return (self.received_us, self.digest)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of one current instance are, and what a retrieval must know of them."""

    uids: InstanceUids
    sop_class: str
    transfer_syntax: str
    digest: str
    size: int
    key: str
