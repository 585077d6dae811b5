"""A request for storage commitment (PS3.4 J.3.2): what it says, and whether it says it rightly."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from vna.dicom.dataset import Element, Identifier
from vna.domain.errors import InvalidInputError, OutOfResourcesError
from vna.domain.identity import identity

COMMITMENT_CLASS = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Storage Commitment Push Model SOP Class, and its well-known instance (PS3.4 J.3.5)."""

MOST_BYTES = 8 << 20
"""Longest Action Information that is read: some 60,000 references."""
MOST_REFERENCES = 50_000
"""References of one request at most: so many are kept, looked up and told in one go."""

_TRANSACTION = "00081195"
_SEQUENCE, _CLASS, _INSTANCE = "00081199", "00081150", "00081155"
_BLANKS = re.compile(r"[\s\0]+")
_LONGEST_UID = 64


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance that is asked for: its SOP Class UID (0008,1150) and SOP Instance UID (0008,1155)."""

    sop_class: str
    instance: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an application entity asks.

    Attributes
    ----------
    ae_title, address
        Who asks, and from where.
    transaction
        Transaction UID (0008,1195).
    references
        The instances, in the order that they were named.
    received_us
        When it came, microseconds since 1970 UTC.
    spool
        Name of the spool beside the gateway that took it.
    unsupported
        SOP classes among the references that this archive is no storage SCP of.
    duplicate
        Whether the Transaction UID was in use for other instances before (PS3.3 C.14.1.1, 0131H).
    """

    ae_title: str
    address: str
    transaction: str
    references: tuple[Reference, ...]
    received_us: int
    spool: str = ""
    unsupported: tuple[str, ...] = ()
    duplicate: bool = False

    @property
    def id(self) -> str:
        """Identity of the transaction; that of a duplicate is of its references, too."""
        parts = (self.digest,) if self.duplicate else ()
        return identity("commitment", self.ae_title, self.transaction, *parts)

    @property
    def digest(self) -> str:
        """Digest of the references, by which a repetition is told from another request."""
        text = "\n".join(sorted(f"{each.sop_class} {each.instance}" for each in self.references))
        return hashlib.sha256(text.encode()).hexdigest()


def understand(information: Identifier) -> tuple[str, tuple[Reference, ...]]:
    """Return Transaction UID and references of an Action Information (PS3.4 table J.3-1).

    Raises
    ------
    InvalidInputError
        Something is missing or is no UID; the message names it.
    OutOfResourcesError
        More references than :data:`MOST_REFERENCES`.
    """
    transaction = _uid(information.get(_TRANSACTION), "Transaction UID (0008,1195)")
    items = information.get(_SEQUENCE, Element("SQ")).items
    if not items:
        raise InvalidInputError("no Referenced SOP Sequence (0008,1199)")
    if len(items) > MOST_REFERENCES:
        raise OutOfResourcesError(f"{len(items)} references, more than {MOST_REFERENCES}")
    return transaction, tuple(
        Reference(
            _uid(item.get(_CLASS), f"Referenced SOP Class UID (0008,1150) of item {number}"),
            _uid(item.get(_INSTANCE), f"Referenced SOP Instance UID (0008,1155) of item {number}"),
        )
        for number, item in enumerate(items, 1)
    )


def _uid(element: Element | None, name: str) -> str:
    # As the index has UIDs: blanks within are taken away, all else stays, legal or not.
    text = _BLANKS.sub("", element.text) if element is not None else ""
    if not text or len(text) > _LONGEST_UID or not text.isascii() or not text.isprintable() or "\\" in text:
        raise InvalidInputError(f"{name} is missing or no UID")
    return text


def to_json(request: Request) -> dict[str, Any]:
    """Return a request as values of JSON; references are grouped by neither class nor study, their order is kept."""
    return {
        "ae_title": request.ae_title,
        "address": request.address,
        "transaction": request.transaction,
        "references": [[each.sop_class, each.instance] for each in request.references],
        "received_us": request.received_us,
        "spool": request.spool,
        "unsupported": request.unsupported,
        "duplicate": request.duplicate,
    }


def from_json(found: dict[str, Any]) -> Request:
    """Read a request back; raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is none."""
    references = tuple(Reference(sop_class, instance) for sop_class, instance in found["references"])
    return Request(**(found | {"references": references, "unsupported": tuple(found["unsupported"])}))
