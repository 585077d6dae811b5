"""Statuses and Warning fields of the transactions on work items (PS3.18 Tables 11.4.3-1 to 11.8.3-2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto

from vna.domain.errors import ArchiveError, InvalidInputError
from vna.gateways.dicomweb.errors import HttpError
from vna.workitems.refusals import GoneError, Reason, RefusedError, TransactionMissingError


class Transaction(Enum):
    """What was asked."""

    CREATE = auto()
    RETRIEVE = auto()
    UPDATE = auto()
    CHANGE_STATE = auto()
    CANCEL = auto()


CREATED_WITH_CHANGES = "The Workitem was created with modifications."
UPDATED_WITH_CHANGES = "The Workitem was updated with modifications."
MISSING = "The Transaction UID is missing."
INCORRECT = "The Transaction UID is incorrect."
NOT_CLAIMED = "The target URI did not reference a claimed Workitem."

# How each section calls a request that the state forbids.
_INCONSISTENT = {
    Transaction.UPDATE: "The submitted request is inconsistent with the current state of the Workitem.",
    Transaction.CHANGE_STATE: "The submitted request is inconsistent with the state of the UPS Instance.",
    Transaction.CANCEL: "The submitted request is inconsistent with the state of the UPS Instance.",
}
_NO_FIELD = re.compile(r"[^\x20-\x7e]")
_BAD_REQUEST = frozenset({Reason.WRONG_TRANSACTION, Reason.SCHEDULED_BY_CREATION_ALONE, Reason.NOT_CREATED_SCHEDULED})


def already(state: str) -> str:
    """Return the text that tells that a work item is in a final state already."""
    return f"The UPS is already in the requested state of {state}."


def warning(*texts: str) -> dict[str, str]:
    """Return the Warning field of some texts, none for no text."""
    # A text may name what a client asked for, and hold whatever it wrote.
    return {"Warning": ", ".join(f"299 vna: {_NO_FIELD.sub('?', text)}" for text in texts)} if texts else {}


def refusal(transaction: Transaction, error: ArchiveError) -> HttpError | None:
    """Return the answer to what a transaction was refused with; ``None`` for what every resource answers alike."""
    if isinstance(error, GoneError):
        return HttpError(410, "gone", str(error))
    if isinstance(error, RefusedError):
        status, texts = _state_refusal(transaction, error)
        return HttpError(status, "conflict" if status == 409 else "refused", str(error), warning(*texts))
    if isinstance(error, InvalidInputError) and transaction in {Transaction.UPDATE, Transaction.CHANGE_STATE}:
        return HttpError(400, "invalid-input", str(error), warning(_INCONSISTENT[transaction]))
    return None


def _state_refusal(transaction: Transaction, error: RefusedError) -> tuple[int, Sequence[str]]:
    if error.reason is Reason.ALREADY_CANCELED:
        return 409, (already("CANCELED"),)
    texts = [_INCONSISTENT[transaction]] if transaction in _INCONSISTENT else []
    if error.reason is Reason.WRONG_TRANSACTION:
        why = MISSING if isinstance(error, TransactionMissingError) else INCORRECT
        # The texts of an update know no Transaction UID, its statuses do.
        texts = [*texts, why] if transaction is Transaction.UPDATE else [why]
    elif error.reason is Reason.NOT_IN_PROGRESS and transaction is Transaction.UPDATE:
        texts = [NOT_CLAIMED]
    # PS3.18 11.6.2: an update of a work item in a final state is a bad request.
    final = error.reason is Reason.NO_LONGER_UPDATED and transaction is Transaction.UPDATE
    return 400 if final or error.reason in _BAD_REQUEST else 409, texts
