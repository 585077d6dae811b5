"""Which content of an instance is current, whatever the order in which contents arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vna.domain.records import IndexedInstance
from vna.ports.index import Outcome, Upserted


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One content of an instance; the smallest is current."""

    received_us: int
    digest: str

    def stored(self) -> dict[str, Any]:
        """Return it as the document holds it."""
        return {"received_us": self.received_us, "digest": self.digest}


def read_versions(stored: Sequence[dict[str, Any]]) -> list[Version]:
    """Return what a document holds."""
    return [Version(one["received_us"], one["digest"]) for one in stored]


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


def merge(existing: Sequence[Version], given: Sequence[IndexedInstance]) -> Merged:
    """Add contents to those that are there."""
    versions = {one.digest: one for one in existing}
    found: list[Outcome] = []
    for instance in given:
        known = versions.get(instance.digest)
        if known is None:
            found.append(Outcome.CONFLICT if versions else Outcome.CREATED)
            versions[instance.digest] = Version(instance.received_us, instance.digest)
        else:
            found.append(Outcome.DUPLICATE)
            versions[instance.digest] = Version(min(instance.received_us, known.received_us), instance.digest)
    after = sorted(versions.values())
    before = min(existing).digest if existing else None
    return Merged(
        versions=after,
        outcomes=[_upserted(outcome, one.digest, after) for outcome, one in zip(found, given, strict=True)],
        current=next((instance for instance in given if instance.digest == after[0].digest), None),
        changed=after != sorted(existing),
        replaced=before is not None and before != after[0].digest,
    )


def _upserted(outcome: Outcome, digest: str, versions: Sequence[Version]) -> Upserted:
    """Name the other content for a duplicate too: a conflict whose upsert was cut short is seen again so."""
    current = versions[0].digest == digest
    other = "" if outcome is Outcome.CREATED else next((one.digest for one in versions if one.digest != digest), "")
    return Upserted(outcome, current, other)
