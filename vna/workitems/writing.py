"""What creation and updates make of a work item's attributes (PS3.4 CC.2.5, CC.2.6): pure, without a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from vna.dicom.dictionary import show_tag
from vna.domain.errors import InvalidInputError
from vna.domain.records import Attributes
from vna.workitems import rules, tags
from vna.workitems.dataset import accept, is_uid
from vna.workitems.record import Event, WorkItem
from vna.workitems.refusals import Reason, RefusedError, TransactionMissingError
from vna.workitems.tags import element, has_value, items, text

DEFAULT_LABEL = "WORKLIST"
"""Worklist Label (0074,1202) of a work item that comes without one."""


def now_dt() -> str:
    """Return the present as a value of VR DT, UTC."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def uid_within(given: Attributes) -> str:
    """Return the UID that a data set names its work item by, empty if it names none."""
    return text(given, tags.SOP_INSTANCE) or text(given, tags.AFFECTED_INSTANCE)


def created(given: Attributes, uid: str) -> tuple[WorkItem, bool]:
    """Return a new work item, and whether it differs from what was given (PS3.4 CC.2.5.3).

    Parameters
    ----------
    given
        The data set in the DICOM JSON model.
    uid
        SOP Instance UID of the work item.

    Raises
    ------
    InvalidInputError
        It is not what Table CC.2.5-3 asks for; the message names the attribute.
    RefusedError
        Its state is another than ``SCHEDULED``.
    """
    if not is_uid(uid):
        raise InvalidInputError(f"{uid[:80]!r} is no UID")
    if (within := uid_within(given)) and within != uid:
        raise InvalidInputError(f"the request names the work item {uid}, and its data set {within[:80]}")
    if text(given, tags.SOP_CLASS) not in {"", tags.UPS_PUSH}:
        raise InvalidInputError(f"{_show(tags.SOP_CLASS)} of a work item is {tags.UPS_PUSH}")
    for tag in rules.CREATED_EMPTY:
        if has_value(given, tag):
            raise InvalidInputError(f"{_show(tag)} is empty when a work item is created (PS3.4 Table CC.2.5-3)")
    missing = [_show(tag) for tag in rules.REQUIRED if not has_value(given, tag)]
    if missing:
        names = ", ".join(missing)
        raise InvalidInputError(f"missing or empty: {names} (PS3.4 Table CC.2.5-3, type 1 when a work item is created)")
    if (state := text(given, tags.STATE)) != "SCHEDULED":
        raise RefusedError(
            Reason.NOT_CREATED_SCHEDULED, f"{_show(tags.STATE)} of a new work item is SCHEDULED, not {state[:32]!r}"
        )
    plain = {tag: field for tag, field in given.items() if tag not in {tags.TRANSACTION, tags.AFFECTED_INSTANCE}}
    attributes, changed = accept(plain)
    rules.check_enumerated(attributes)
    rules.check_sequences(attributes)
    for tag, vr in rules.TYPE_2.items():
        if tag not in attributes:
            attributes[tag], changed = element(vr), True
    for tag, vr in rules.KEPT_EMPTY.items():
        attributes.setdefault(tag, element(vr))
    if not has_value(attributes, tags.WORKLIST_LABEL):
        attributes[tags.WORKLIST_LABEL], changed = element("LO", DEFAULT_LABEL), True
    attributes[tags.SOP_CLASS] = element("UI", tags.UPS_PUSH)
    attributes[tags.SOP_INSTANCE] = element("UI", uid)
    attributes[tags.MODIFIED] = element("DT", now_dt())
    return WorkItem(uid, attributes=dict(sorted(attributes.items()))), changed


def updated(item: WorkItem, given: Attributes, transaction: str) -> tuple[WorkItem, bool]:
    """Return a work item with some attributes set, and whether they differ from what was given (PS3.4 CC.2.6.3).

    Parameters
    ----------
    item
        The work item.
    given
        The attributes to set; a sequence comes whole.
    transaction
        Transaction UID given with the request, empty for none.

    Raises
    ------
    RefusedError
        Its state forbids it, or the Transaction UID is not the one.
    InvalidInputError
        An attribute must not be set, or has a wrong value; the message names it.
    """
    within = text(given, tags.TRANSACTION)
    if transaction and within and transaction != within:
        raise InvalidInputError("the request has two Transaction UIDs")
    _may_update(item, transaction or within)
    if tags.STATE in given:
        raise InvalidInputError(f"{_show(tags.STATE)} is changed by a change of state, not by an update")
    plain = {tag: field for tag, field in given.items() if tag != tags.TRANSACTION}
    change, changed = accept(plain)
    for tag in sorted(rules.NEVER_SET & change.keys()):
        # Who sends a work item back whole, as it was retrieved, sets nothing by that.
        if change.pop(tag) != item.attributes.get(tag):
            raise InvalidInputError(f"{_show(tag)} must not be set (PS3.4 Table CC.2.5-3)")
    for tag in (*rules.REQUIRED, tags.WORKLIST_LABEL):
        if tag in change and not has_value(change, tag):
            raise InvalidInputError(f"{_show(tag)} must keep a value (PS3.4 Table CC.2.5-3)")
    rules.check_enumerated(change)
    rules.check_sequences(change)
    if len(change.get(tags.PROGRESS, {}).get("Value", ())) > 1:
        raise InvalidInputError(f"{_show(tags.PROGRESS)} has one item (PS3.3 C.30.1)")
    attributes = item.attributes | change | {tags.MODIFIED: element("DT", now_dt())}
    return replace(item, attributes=dict(sorted(attributes.items()))), changed


def _may_update(item: WorkItem, transaction: str) -> None:
    if item.is_final:
        raise RefusedError(Reason.NO_LONGER_UPDATED, f"the work item is {item.state} and may no longer be updated")
    if item.state == "SCHEDULED":
        if transaction:
            raise RefusedError(
                Reason.NOT_IN_PROGRESS, "the work item is SCHEDULED: nobody has claimed it by a Transaction UID"
            )
    elif not transaction:
        raise TransactionMissingError
    elif transaction != item.transaction:
        raise RefusedError(Reason.WRONG_TRANSACTION, "the Transaction UID is not that of who has the work item")


def events_of_update(before: Mapping[str, Any], item: WorkItem, to: tuple[str, ...]) -> tuple[Event, ...]:
    """Return what an update tells (PS3.4 CC.2.4.3): a changed readiness, assignment or progress."""
    after = item.attributes
    events: list[Event] = []
    if before.get(tags.READINESS) != after.get(tags.READINESS):
        events.append(item.state_report(to))
    if any(before.get(tag) != after.get(tag) for tag in (tags.STATION_NAMES, tags.HUMAN_PERFORMERS)):
        events.append(Event(5, to, assignment(after)))
    told = (tags.PROGRESS_VALUE, tags.PROGRESS_DESCRIPTION, tags.COMMUNICATIONS)
    old, new = ((items(each, tags.PROGRESS) or [{}])[0] for each in (before, after))
    if any(old.get(tag) != new.get(tag) for tag in told):
        events.append(Event(3, to, {tags.PROGRESS: after[tags.PROGRESS]}))
    return tuple(events)


def assignment(attributes: Mapping[str, Any]) -> Attributes:
    """Return the attributes of the event that tells whom a work item is assigned to."""
    shown: Attributes = {}
    if has_value(attributes, tags.STATION_NAMES):
        shown[tags.STATION_NAMES] = attributes[tags.STATION_NAMES]
    performers = items(attributes, tags.HUMAN_PERFORMERS)
    codes = [code for each in performers for code in items(each, tags.PERFORMER_CODES)]
    if codes:
        shown[tags.PERFORMER_CODES] = element("SQ", *codes)
    organizations = [found for each in performers if (found := text(each, tags.PERFORMER_ORGANIZATION))]
    if organizations:
        shown[tags.PERFORMER_ORGANIZATION] = element("LO", organizations[0])
    return shown


def _show(tag: str) -> str:
    return show_tag(int(tag, 16))
