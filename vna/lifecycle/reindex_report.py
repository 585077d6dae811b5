"""What a reindex found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
_NAMED = 1000


class Notes(list[T]):
    """Things to be told of: all are counted, the first thousand are named.

    Attributes
    ----------
    total
        How many there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def note(self, note: T) -> None:
        """Add one, unless it is there."""
        if note in self:
            return
        self.total += 1
        if len(self) < _NAMED:
            self.append(note)


@dataclass(slots=True)
class ReindexReport:
    """What a reindex found.

    Attributes
    ----------
    instances
        Instances that are in the new index; conflicting contents count each.
    late
        How many of them were added after the swap, stored since the reindex began.
    repaired
        Keys of bytes whose metadata document was missing and has been made.
    unreadable
        Keys, with the reason, of what could not be indexed as it is stored.
    refused
        Keys, with the reason, of metadata documents that the index does not take: what they tell of is not found.
    newer
        Keys, with the reason, of metadata documents that a newer version of the archive wrote. They are left as they
        are; what is found of them was read from the bytes.
    differing
        Keys, with the reason, of bytes that are not as many as were received.
    without_bytes
        Keys of metadata documents that have no bytes: not indexed.
    """

    instances: int = 0
    late: int = 0
    repaired: Notes[str] = field(default_factory=Notes)
    unreadable: Notes[tuple[str, str]] = field(default_factory=Notes)
    refused: Notes[tuple[str, str]] = field(default_factory=Notes)
    newer: Notes[tuple[str, str]] = field(default_factory=Notes)
    differing: Notes[tuple[str, str]] = field(default_factory=Notes)
    without_bytes: Notes[str] = field(default_factory=Notes)

    @property
    def whole(self) -> bool:
        """Whether all that is stored is found, and nothing is wrong with it."""
        notes = (self.unreadable, self.refused, self.newer, self.differing, self.without_bytes)
        return not any(note.total for note in notes)
