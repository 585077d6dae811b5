"""Which content of an instance is current, whatever the order in which contents arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vna.domain.records import IndexedInstance
from vna.ports.index import Outcome, Upserted


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One content of an instance; the smallest is current.

    ``open`` marks a conflict that was recorded but perhaps never reported,
    because what follows in the upsert failed: it is reported again.
    """

    received_us: int
    digest: str
    open: bool = False

    def stored(self) -> dict[str, Any]:
        """Return it as the document holds it."""
        kept: dict[str, Any] = {"received_us": self.received_us, "digest": self.digest}
        return kept | {"open": True} if self.open else kept


def read_versions(stored: Sequence[dict[str, Any]]) -> list[Version]:
    """Return what a document holds."""
    return [Version(one["received_us"], one["digest"], one.get("open", False)) for one in stored]


@dataclass(frozen=True, slots=True)
class Merged:
    """The contents of one instance after an upsert.

    Attributes
    ----------
    versions
        All contents, current first.
    outcomes
        One for each content given.
    current
        The content that is current, if it is one of those given.
    changed, replaced
        Whether the document must be written; whether another content was current before.
    """

    versions: list[Version]
    outcomes: list[Upserted]
    current: IndexedInstance | None
    changed: bool
    replaced: bool

    @property
    def settled(self) -> list[Version]:
        """The versions once every conflict is reported."""
        return [replace(one, open=False) for one in self.versions]


def merge(existing: Sequence[Version], given: Sequence[IndexedInstance]) -> Merged:
    """Add contents to those that are there."""
    versions = {one.digest: one for one in existing}
    outcomes: list[Upserted] = []
    for instance in given:
        known = versions.get(instance.digest)
        if known is None:
            versions[instance.digest] = Version(instance.received_us, instance.digest, open=bool(versions))
        elif instance.received_us < known.received_us:
            versions[instance.digest] = replace(known, received_us=instance.received_us)
        outcomes.append(_outcome(instance.digest, known, versions))
    after = sorted(versions.values())
    before = min(existing).digest if existing else None
    current = next((instance for instance in given if instance.digest == after[0].digest), None)
    return Merged(
        versions=after,
        outcomes=outcomes,
        current=current,
        changed=after != sorted(existing),
        replaced=before is not None and before != after[0].digest,
    )


def _outcome(digest: str, known: Version | None, versions: dict[str, Version]) -> Upserted:
    first, *rest = sorted(versions.values())
    current = first.digest == digest
    if not versions[digest].open:
        return Upserted(Outcome.CREATED if known is None else Outcome.DUPLICATE, current)
    return Upserted(Outcome.CONFLICT, current, rest[0].digest if current and rest else first.digest)
