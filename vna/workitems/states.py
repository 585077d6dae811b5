"""The states of a work item, and the ways from one to the next (PS3.4 Table CC.1.1-2): pure, without a store."""

from __future__ import annotations

from dataclasses import replace

from vna.domain.errors import InvalidInputError
from vna.domain.records import Attributes
from vna.workitems import rules, tags
from vna.workitems.dataset import accept, is_uid
from vna.workitems.record import Event, WorkItem
from vna.workitems.refusals import Reason, RefusedError, TransactionMissingError
from vna.workitems.tags import element, has_value, items, text
from vna.workitems.writing import now_dt

_WRITTEN = {"CANCELLED": "CANCELED"}  # PS3.18 11.7.1.4 spells it so, its other sections and PS3.3 do not
_NO_REASON = {
    "00080100": element("SH", "110513"),
    "00080102": element("SH", "DCM"),
    "00080104": element("LO", "Discontinued for unspecified reason"),
}
"""Reason code of a cancellation that came without one (PS3.16 CID 9300)."""
_CANCEL_INFO = (tags.CANCEL_REASON, tags.CANCEL_CODES, tags.CONTACT_URI, tags.CONTACT_NAME)


def changed(item: WorkItem, given: Attributes) -> WorkItem | None:
    """Return a work item in the state that is asked for, ``None`` if it is in that final state already.

    Parameters
    ----------
    item
        The work item.
    given
        Procedure Step State (0074,1000) and Transaction UID (0008,1195).

    Raises
    ------
    RefusedError
        The state that it is in, or the Transaction UID, forbids it.
    InvalidInputError
        There is no such state, or no UID.
    """
    asked = text(given, tags.STATE)
    wanted = _WRITTEN.get(asked, asked)
    if wanted not in rules.ENUMERATED[tags.STATE]:
        allowed = ", ".join(rules.ENUMERATED[tags.STATE][1:])
        raise InvalidInputError(f"Procedure Step State (0074,1000) {asked[:32]!r} is none of {allowed}")
    if wanted == "SCHEDULED":
        raise RefusedError(
            Reason.SCHEDULED_BY_CREATION_ALONE, "a work item becomes SCHEDULED when it is created, and never again"
        )
    transaction = text(given, tags.TRANSACTION)
    if not transaction:
        raise TransactionMissingError
    if not is_uid(transaction):
        raise InvalidInputError(f"Transaction UID (0008,1195) {transaction[:80]!r} is no UID")
    if item.state != "SCHEDULED" and transaction != item.transaction:
        raise RefusedError(Reason.WRONG_TRANSACTION, "the Transaction UID is not that of who has the work item")
    if wanted == "IN PROGRESS":
        return _claimed(item, transaction)
    if item.state == "SCHEDULED":
        raise RefusedError(Reason.NOT_IN_PROGRESS, "the work item is SCHEDULED, and not yet IN PROGRESS")
    if item.state == wanted:
        return None
    if item.is_final:
        raise RefusedError(Reason.NO_LONGER_UPDATED, f"the work item is {item.state} and may no longer be updated")
    return canceled(item) if wanted == "CANCELED" else _in_state(item, wanted)


def _claimed(item: WorkItem, transaction: str) -> WorkItem:
    if item.state == "IN PROGRESS":
        raise RefusedError(Reason.ALREADY_IN_PROGRESS, "the work item is IN PROGRESS already")
    if item.is_final:
        raise RefusedError(Reason.NO_LONGER_UPDATED, f"the work item is {item.state} and may no longer be updated")
    return replace(_in_state(item, "IN PROGRESS"), transaction=transaction)


def _in_state(item: WorkItem, state: str) -> WorkItem:
    attributes = item.attributes | {tags.STATE: element("CS", state), tags.MODIFIED: element("DT", now_dt())}
    if state != "IN PROGRESS" and (lacking := rules.unmet(attributes, state)):
        names = ", ".join(lacking)
        raise RefusedError(Reason.FINAL_STATE_NOT_MET, f"the work item cannot become {state}: {names} missing or empty")
    return replace(item, attributes=attributes)


def canceled(item: WorkItem, why: Attributes | None = None) -> WorkItem:
    """Return a work item canceled, with when and why filled in where nobody has told (Table CC.2.5-3)."""
    progress = (items(item.attributes, tags.PROGRESS) or [{}])[0] | (why or {})
    if not has_value(progress, tags.CANCELED_AT):
        progress[tags.CANCELED_AT] = element("DT", now_dt())
    if not has_value(progress, tags.CANCEL_CODES):
        progress[tags.CANCEL_CODES] = element("SQ", _NO_REASON)
    attributes = item.attributes | {tags.PROGRESS: element("SQ", dict(sorted(progress.items())))}
    return _in_state(replace(item, attributes=attributes), "CANCELED")


def cancel_asked(
    item: WorkItem, given: Attributes, who: str, to: tuple[str, ...]
) -> tuple[WorkItem, tuple[Event, ...]]:
    """Return what a request to cancel makes of a work item, and what is told of it (PS3.4 CC.2.2.3).

    One that nobody has claimed is canceled; of one in progress its performer is
    told, if it listens.

    Parameters
    ----------
    item
        The work item.
    given
        Why, and whom to ask.
    who
        AE title of who asks.
    to
        AE titles of those who are told.

    Raises
    ------
    RefusedError
        It is in a final state.
    InvalidInputError
        An attribute has a wrong value.
    """
    if item.state == "COMPLETED":
        raise RefusedError(Reason.ALREADY_COMPLETED, "the work item is COMPLETED already")
    if item.state == "CANCELED":
        raise RefusedError(Reason.ALREADY_CANCELED, "the work item is CANCELED already")
    told, _changed = accept({tag: given[tag] for tag in _CANCEL_INFO if has_value(given, tag)})
    told.pop(tags.CHARSET, None)
    rules.check_sequences({tags.PROGRESS: element("SQ", told)})
    asked = Event(2, to, {tags.REQUESTING_AE: element("AE", who)} | told)
    if item.state == "IN PROGRESS":
        return item, (asked,)
    why = {tag: told[tag] for tag in (tags.CANCEL_REASON, tags.CANCEL_CODES) if tag in told}
    claimed = _in_state(item, "IN PROGRESS")
    done = canceled(claimed, why)
    return done, (asked, claimed.state_report(to), done.state_report(to))
