"""The N-EVENT-REPORT of a result (PS3.4 J.3.3): its event type and its Event Information."""

from __future__ import annotations

from typing import Any

from vna.commitment.decision import Result
from vna.commitment.request import Reference, Request
from vna.domain.records import Attributes

ALL_COMMITTED = 1
FAILURES_EXIST = 2
"""Event Type IDs (PS3.4 J.3.3.1)."""


def event_report(request: Request, result: Result, ae_title: str) -> tuple[int, Attributes]:
    """Return Event Type ID and Event Information (PS3.4 table J.3-2).

    Parameters
    ----------
    request
        What was asked.
    result
        What became of it.
    ae_title
        From where the instances can be had (Retrieve AE Title).
    """
    committed = [_item(each) for place, each in enumerate(request.references) if place not in result.failures]
    failed = [
        _item(request.references[place]) | {"00081197": {"vr": "US", "Value": [reason]}}
        for place, reason in sorted(result.failures.items())
    ]
    information: Attributes = {
        "00080054": {"vr": "AE", "Value": [ae_title]},
        "00081195": {"vr": "UI", "Value": [request.transaction]},
    }
    if committed:
        information["00081199"] = {"vr": "SQ", "Value": committed}
    if failed:
        information["00081198"] = {"vr": "SQ", "Value": failed}
    return (FAILURES_EXIST if failed else ALL_COMMITTED), information


def _item(reference: Reference) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [reference.sop_class]},
        "00081155": {"vr": "UI", "Value": [reference.instance]},
    }
