"""What a work item must have, as Table CC.2.5-3 of PS3.4 and its macros say.

Conditions that only the sender can know (is a study expected to come of it?)
are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vna.dicom.dictionary import show_tag
from vna.domain.errors import InvalidInputError
from vna.workitems import tags
from vna.workitems.tags import has_value, items, text

REQUIRED = (tags.PRIORITY, tags.LABEL, tags.START, tags.READINESS, tags.STATE)
"""Type 1 when a work item is created, and never emptied later."""

TYPE_2: Mapping[str, str] = MappingProxyType(
    {
        "00081080": "LO",  # AdmittingDiagnosesDescription
        "00081084": "SQ",  # AdmittingDiagnosesCodeSequence
        "00100010": "PN",  # PatientName
        "00100021": "LO",  # IssuerOfPatientID
        "00100024": "SQ",  # IssuerOfPatientIDQualifiersSequence
        "00100030": "DA",  # PatientBirthDate
        "00100040": "CS",  # PatientSex
        "00101002": "SQ",  # OtherPatientIDsSequence
        "00380010": "LO",  # AdmissionID
        "00380014": "SQ",  # IssuerOfAdmissionIDSequence
        "00400400": "LT",  # CommentsOnTheScheduledProcedureStep
        "00404018": "SQ",  # ScheduledWorkitemCodeSequence
        "00404021": "SQ",  # InputInformationSequence
        "00404025": "SQ",  # ScheduledStationNameCodeSequence
        "00404026": "SQ",  # ScheduledStationClassCodeSequence
        "00404027": "SQ",  # ScheduledStationGeographicLocationCodeSequence
        "0040A370": "SQ",  # ReferencedRequestSequence
        "00741002": "SQ",  # ProgressInformationSequence
        "00741210": "SQ",  # ScheduledProcessingParametersSequence
        "00741216": "SQ",  # UnifiedProcedureStepPerformedProcedureSequence
    }
)
"""Type 2 when a work item is created: there, if only empty."""

KEPT_EMPTY: Mapping[str, str] = MappingProxyType({tags.PATIENT_ID: "LO", tags.STUDY: "UI", tags.HUMAN_PERFORMERS: "SQ"})
"""Of type 1C or 2C for who creates a work item and of type 2 for who keeps it."""

CREATED_EMPTY = (tags.TRANSACTION, tags.PROGRESS, tags.PERFORMED)
NEVER_SET = frozenset(
    {tags.SOP_CLASS, tags.SOP_INSTANCE, tags.MODIFIED, tags.PATIENT_ID, "00100010", "00100021", "00100024", "00100030"}
    | {"00100040", "00380010", "00380014", "00081080", "00081084", "0040A370", "00741224"}
)
"""Not allowed in an update (N-SET)."""

ENUMERATED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        tags.PRIORITY: ("HIGH", "MEDIUM", "LOW"),
        tags.READINESS: ("INCOMPLETE", "UNAVAILABLE", "READY"),
        tags.STATE: ("SCHEDULED", "IN PROGRESS", "CANCELED", "COMPLETED"),
    }
)
"""Enumerated values (PS3.3 C.30.1, C.30.2)."""


@dataclass(frozen=True, slots=True)
class ItemRule:
    """What each item of a sequence must have.

    Attributes
    ----------
    required
        Attributes with a value.
    one_of
        Attributes of which at least one has a value.
    inside
        Rules of the sequences in it.
    more
        What else there is to check, given the item and its path.
    """

    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    inside: Mapping[str, ItemRule] = field(default_factory=dict)
    more: Callable[[Mapping[str, Any], str], None] | None = None


def _coded(item: Mapping[str, Any], path: str) -> None:
    """Table CC.2.5-2a: a code of 16 characters or a long one needs its scheme."""
    if (has_value(item, "00080100") or has_value(item, "00080119")) and not has_value(item, "00080102"):
        raise _missing(path, "00080102")


def _of_type(item: Mapping[str, Any], path: str) -> None:
    """Table CC.2.5-2b: the value is in the attribute of its type."""
    kind = text(item, "0040A040")
    wanted = _VALUE_OF.get(kind)
    if wanted is None:
        raise InvalidInputError(f"{path}: {show_tag(0x0040A040)} {kind[:32]!r} is none of {', '.join(_VALUE_OF)}")
    for tag in wanted:
        if not has_value(item, tag):
            raise _missing(path, tag)


_VALUE_OF: Mapping[str, tuple[str, ...]] = {
    "DATETIME": ("0040A120",),
    "DATE": ("0040A121",),
    "TIME": ("0040A122",),
    "PNAME": ("0040A123",),
    "UIDREF": ("0040A124",),
    "TEXT": ("0040A160",),
    "CODE": ("0040A168",),
    "NUMERIC": ("0040A30A", "004008EA"),
}
_CODE = ItemRule(("00080104",), ("00080100", "00080119", "00080120"), more=_coded)
_CONTENT = ItemRule(
    ("0040A040", "0040A043"), inside={"0040A043": _CODE, "0040A168": _CODE, "004008EA": _CODE}, more=_of_type
)
# Table CC.2.5-2c: Referenced Instances and Access.
_INSTANCES = ItemRule(
    ("0040E020", "00081199"),
    ("0040E021", "0040E022", "0040E023", "0040E024", "0040E025"),
    {
        "00081199": ItemRule(("00081150", "00081155")),
        "0040E021": ItemRule(("00080054",)),
        "0040E022": ItemRule(("00880140",)),
        "0040E023": ItemRule(("0040E010",)),
        "0040E024": ItemRule(("0040E030",)),
        "0040E025": ItemRule(("00081190",)),
    },
)
# Table CC.2.5-2g: Storage.
_STORAGE = ItemRule(
    (),
    ("00404071", "00404072", "00404074"),
    {
        "00404071": ItemRule(("21000140",)),
        "00404072": ItemRule(("00404073",)),
        "00404074": ItemRule(("0040E030",)),
    },
)
_SCHEDULED_PERFORMER = ItemRule(("00404009", "00404037", "00404036"), inside={"00404009": _CODE})

SEQUENCES: Mapping[str, ItemRule] = MappingProxyType(
    {
        **dict.fromkeys(("00404018", "00404025", "00404026", "00404027", "00081084"), _CODE),
        "00404034": _SCHEDULED_PERFORMER,
        "00741210": _CONTENT,
        "00404021": _INSTANCES,
        "00404070": _STORAGE,
        "00101002": ItemRule(("00100020",)),
        "0040A370": ItemRule(("0020000D",), inside={"00321064": _CODE, "0040100A": _CODE, "00321034": _CODE}),
        "00741224": ItemRule(("00081150", "00081155")),
        "00741002": ItemRule(
            inside={"00741007": _CONTENT, "00741008": ItemRule(("0074100A",)), "0074100E": _CODE},
        ),
        "00741216": ItemRule(
            inside={
                **dict.fromkeys(("00404028", "00404029", "00404030", "00404019"), _CODE),
                "00404035": ItemRule(inside={"00404009": _CODE}),
                "00741212": _CONTENT,
                "00404033": _INSTANCES,
            },
        ),
    }
)
"""Rules of the items of each sequence of a work item."""

_FINAL = (tags.SOP_CLASS, tags.SOP_INSTANCE, tags.PRIORITY, tags.MODIFIED, tags.START, tags.READINESS, tags.STATE)
# Performed station, start, work item and end: final state code P within the performed procedure.
_PERFORMED = ("00404028", "00404050", "00404019", "00404051")
_OUTPUT = "00404033"


def check_sequences(attributes: Mapping[str, Any]) -> None:
    """Check the items of all sequences; raises ``InvalidInputError`` naming what is missing where."""
    _check(attributes, SEQUENCES, "")


def _check(attributes: Mapping[str, Any], rules: Mapping[str, ItemRule], above: str) -> None:
    for tag, rule in rules.items():
        for number, item in enumerate(items(attributes, tag), 1):
            path = f"{above}{show_tag(int(tag, 16))} item {number}"
            for required in rule.required:
                if not has_value(item, required):
                    raise _missing(path, required)
            if rule.one_of and not any(has_value(item, each) for each in rule.one_of):
                names = ", ".join(show_tag(int(each, 16)) for each in rule.one_of)
                raise InvalidInputError(f"{path}: none of {names} has a value (PS3.4 Table CC.2.5-3)")
            if rule.more is not None:
                rule.more(item, path)
            _check(item, rule.inside, f"{path}, ")


def _missing(path: str, tag: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: {show_tag(int(tag, 16))} is missing or empty (PS3.4 Table CC.2.5-3)")


def check_enumerated(attributes: Mapping[str, Any]) -> None:
    """Check the attributes with enumerated values; raises ``InvalidInputError``."""
    for tag, allowed in ENUMERATED.items():
        found = text(attributes, tag)
        if found and found not in allowed:
            raise InvalidInputError(f"{show_tag(int(tag, 16))}: {found[:32]!r} is none of {', '.join(allowed)}")


def unmet(attributes: Mapping[str, Any], final: str) -> list[str]:
    """Return what keeps a work item from a final state (PS3.4 CC.2.5.1.1): attributes as a person reads them.

    Parameters
    ----------
    attributes
        Of the work item.
    final
        ``COMPLETED`` or ``CANCELED``.
    """
    lacking = [tag for tag in _FINAL if not has_value(attributes, tag)]
    if final == "CANCELED":
        progress = items(attributes, tags.PROGRESS) or [{}]
        lacking += [tag for tag in (tags.CANCELED_AT, tags.CANCEL_CODES) if not has_value(progress[0], tag)]
    elif not has_value(attributes, tags.PERFORMED):
        lacking.append(tags.PERFORMED)
    else:
        for item in items(attributes, tags.PERFORMED):
            lacking += [tag for tag in _PERFORMED if not has_value(item, tag)]
            lacking += [_OUTPUT] if _OUTPUT not in item else []
    return [show_tag(int(tag, 16)) for tag in dict.fromkeys(lacking)]
