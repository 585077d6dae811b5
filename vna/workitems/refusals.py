"""Why something is not done to a work item, by the status codes of PS3.4 CC.2."""

from __future__ import annotations

from enum import IntEnum

from vna.domain.errors import ConflictError, NotFoundError


class Reason(IntEnum):
    """Status codes of failures (PS3.4 Tables CC.2.1-2, CC.2.2-2, CC.2.5-4, CC.2.6-1; PS3.7 C for 0111)."""

    EXISTS = 0x0111
    NO_LONGER_UPDATED = 0xC300
    WRONG_TRANSACTION = 0xC301
    ALREADY_IN_PROGRESS = 0xC302
    SCHEDULED_BY_CREATION_ALONE = 0xC303
    FINAL_STATE_NOT_MET = 0xC304
    NOT_CREATED_SCHEDULED = 0xC309
    NOT_IN_PROGRESS = 0xC310
    ALREADY_COMPLETED = 0xC311
    ALREADY_CANCELED = 0xB304


class RefusedError(ConflictError):
    """The state of a work item forbids what was asked.

    Parameters
    ----------
    reason
        Why.
    message
        The same for a person.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransactionMissingError(RefusedError):
    """The transaction UID was not given at all (one of the two faces of C301)."""

    def __init__(self) -> None:
        super().__init__(Reason.WRONG_TRANSACTION, "the Transaction UID (0008,1195) is missing")


class GoneError(NotFoundError):
    """There was such a work item, and it was removed when its time was over."""
