"""Statuses of DIMSE responses, and the errors that become them.

PS3.4 B.2.3 (storage), C.4.1.1.4 (C-FIND), C.4.2.1.5 (C-MOVE), C.4.3.1.4 (C-GET); PS3.7 annex C.
"""

from __future__ import annotations

from dataclasses import dataclass

from vna.domain.errors import (
    ArchiveError,
    InvalidQueryError,
    OutOfResourcesError,
    UnavailableError,
)

SUCCESS = 0x0000
PENDING = 0xFF00
PENDING_UNSUPPORTED_KEYS = 0xFF01
CANCELLED = 0xFE00

# C-FIND, C-MOVE, C-GET.
OUT_OF_RESOURCES = 0xA700
NO_MATCH_COUNT = 0xA701  # out of resources: unable to calculate the number of matches
NO_SUB_OPERATIONS = 0xA702  # out of resources: unable to perform sub-operations
UNKNOWN_DESTINATION = 0xA801
IDENTIFIER_MISMATCH = 0xA900
UNABLE_TO_PROCESS = 0xC000
SOME_FAILED = 0xB000  # sub-operations complete, one or more failures or warnings

# Warnings of a C-STORE response (PS3.4 B.2.3; PS3.7 C.4).
_STORE_WARNINGS = frozenset({0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007})

LONGEST_COMMENT = 64
"""Error Comment (0000,0902) is LO."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a request failed: status, Error Comment (0000,0902), and Offending Element (0000,0901) if one is to blame."""

    status: int
    comment: str
    offending: int | None = None


def query_failure(error: BaseException) -> Failure:
    """Return how a C-FIND fails for an error; what is no error of the archive's says nothing of its inside."""
    if isinstance(error, InvalidQueryError):
        return Failure(IDENTIFIER_MISMATCH, str(error), _tag(error.attribute))
    if isinstance(error, UnavailableError | OutOfResourcesError):
        return Failure(OUT_OF_RESOURCES, "the index does not answer, try again later")
    if isinstance(error, ArchiveError):
        return Failure(UNABLE_TO_PROCESS, str(error))
    return Failure(UNABLE_TO_PROCESS, "the query failed in the archive, see its log")


def selection_failure(error: BaseException) -> Failure:
    """Return how a C-MOVE or C-GET fails for an error before its first sub-operation."""
    if isinstance(error, UnavailableError | OutOfResourcesError):
        return Failure(NO_MATCH_COUNT, "the index does not answer, try again later")
    return query_failure(error)


def is_store_warning(status: int) -> bool:
    """Say whether a C-STORE response is a warning: the receiver has the instance, with something to say of it."""
    return status in _STORE_WARNINGS or status & 0xF000 == 0xB000


def _tag(path: str | None) -> int | None:
    """Return the tag of the last attribute of a path."""
    if not path:
        return None
    last = path.split(".")[-1].split("@")[0].replace("xx", "10")
    try:
        return int(last, 16) if len(last) == 8 else None
    except ValueError:
        return None
