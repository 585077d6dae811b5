"""Whether the archive commits itself to an instance (PS3.4 J.3.3.1.2): a pure function of what was found of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from vna.commitment.request import Reference, Request

# Failure Reason (0008,1197), PS3.3 C.14.1.1.
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
CLASS_NOT_SUPPORTED = 0x0122
DUPLICATE_TRANSACTION = 0x0131


class Held(Enum):
    """What the object store has of a content that the index knows."""

    WHOLE = "whole"
    GONE = "gone"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Fact:
    """One content under a SOP Instance UID: its SOP class, the study it is of, and what the store has of it."""

    sop_class: str
    study: str
    held: Held


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an instance is committed (``reason`` 0) or why not; ``final`` if nothing in the spool can change it."""

    reason: int
    final: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a request comes to: reasons of those that failed by their place, and how many of what study were found."""

    failures: Mapping[int, int]
    studies: tuple[tuple[str, str, int], ...] = ()


COMMITTED = Verdict(0)


def judge(reference: Reference, facts: Sequence[Fact], *, supported: bool) -> Verdict:
    """Decide of one instance.

    A SOP Instance UID may be in several studies, and have several contents. Which
    of them its sender means is not known, so every one of the class asked for
    must be in the store, whole.

    Parameters
    ----------
    reference
        What is asked for.
    facts
        Every content under its SOP Instance UID.
    supported
        Whether the archive is a storage SCP of its class.
    """
    if not facts:
        return Verdict(NO_SUCH_INSTANCE, final=False) if supported else Verdict(CLASS_NOT_SUPPORTED)
    mine = [fact for fact in facts if fact.sop_class == reference.sop_class]
    if not mine:
        return Verdict(CLASS_INSTANCE_CONFLICT)
    # A good copy that was sent again may wait in the spool.
    if any(fact.held is Held.GONE for fact in mine):
        return Verdict(NO_SUCH_INSTANCE, final=False)
    if any(fact.held is Held.DAMAGED for fact in mine):
        return Verdict(PROCESSING_FAILURE, final=False)
    return COMMITTED


def refuse_duplicate(request: Request) -> Result:
    """Return the result of a request whose Transaction UID is in use for other instances: none is committed."""
    return Result(dict.fromkeys(range(len(request.references)), DUPLICATE_TRANSACTION))
