"""The attributes of a Unified Procedure Step that the archive itself reads or writes, and how to get at values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vna.domain.records import Attributes

CHARSET = "00080005"
SOP_CLASS = "00080016"
SOP_INSTANCE = "00080018"
TRANSACTION = "00081195"
AFFECTED_INSTANCE = "00001000"
PATIENT_ID = "00100020"
STUDY = "0020000D"

STATE = "00741000"
PRIORITY = "00741200"
WORKLIST_LABEL = "00741202"
LABEL = "00741204"
START = "00404005"
MODIFIED = "00404010"
READINESS = "00404041"
STATION_NAMES = "00404025"
HUMAN_PERFORMERS = "00404034"
PERFORMER_CODES = "00404009"
PERFORMER_ORGANIZATION = "00404036"

PROGRESS = "00741002"
PROGRESS_VALUE = "00741004"
PROGRESS_DESCRIPTION = "00741006"
COMMUNICATIONS = "00741008"
CANCELED_AT = "00404052"
CANCEL_REASON = "00741238"
CANCEL_CODES = "0074100E"
CONTACT_URI = "0074100A"
CONTACT_NAME = "0074100C"
REQUESTING_AE = "00741236"
PERFORMED = "00741216"

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
"""SOP Class UID of every work item (PS3.4 CC.3.1)."""

GLOBAL = "1.2.840.10008.5.1.4.34.5"
"""UID that stands for all work items in a subscription."""
FILTERED = "1.2.840.10008.5.1.4.34.5.1"
"""UID that stands for those that match a filter."""


def values(attributes: Mapping[str, Any], tag: str) -> list[Any]:
    """Return the values of an attribute, none if it is absent or empty."""
    found = attributes.get(tag, {}).get("Value")
    return [value for value in found if value is not None and value != ""] if isinstance(found, list) else []


def text(attributes: Mapping[str, Any], tag: str) -> str:
    """Return the first value of an attribute as text without blanks around it, empty if there is none."""
    found = values(attributes, tag)
    return str(found[0]).strip() if found else ""


def has_value(attributes: Mapping[str, Any], tag: str) -> bool:
    """Say whether an attribute has a value: for a sequence an item, for a name a component group."""
    field = attributes.get(tag, {})
    return bool(field.get("InlineBinary")) or any(value not in ({}, "") for value in values(attributes, tag))


def items(attributes: Mapping[str, Any], tag: str) -> list[Attributes]:
    """Return the items of a sequence."""
    return [item for item in values(attributes, tag) if isinstance(item, dict)]


def element(vr: str, *content: Any) -> Attributes:
    """Return an attribute in the DICOM JSON model, empty without a value."""
    return {"vr": vr, "Value": list(content)} if content else {"vr": vr}
