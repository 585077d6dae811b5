"""The audit trail as a person asks for it and reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from vna.domain.audit import AuditEvent, Kind, Outcome, Participant, Role
from vna.domain.errors import InvalidQueryError
from vna.domain.origin import now_us
from vna.security.audit_filter import AuditFilter
from vna.security.audit_search import AuditEntry
from vna.security.audit_xml import event_name, to_xml, type_name
from vna.web import view_text as text

SPANS: Mapping[str, tuple[str, int]] = {
    "hour": ("Last hour", 3600),
    "day": ("Last 24 hours", 86_400),
    "week": ("Last 7 days", 7 * 86_400),
    "month": ("Last 30 days", 30 * 86_400),
}
KINDS: Mapping[str, str] = {kind.value: event_name(kind) for kind in sorted(Kind, key=event_name)}
OUTCOMES: Mapping[str, str] = {"succeeded": "Succeeded", "failed": "Failed"}
_ACTIONS = {"C": "create", "R": "read", "U": "update", "D": "delete", "E": "execute"}
_FIELDS = ("user", "patient", "study")


@dataclass(frozen=True, slots=True)
class AskedAudit:
    """A state of the audit page; its URL says all of it.

    Attributes
    ----------
    user, patient, study
        As :class:`~vna.security.audit_filter.AuditFilter`.
    kind, outcome
        One of :data:`KINDS` and of :data:`OUTCOMES`, or empty.
    last
        One of :data:`SPANS`, or empty.
    since, until
        First and last minute as typed, UTC.
    after
        Behind which entry the page begins.
    """

    user: str = ""
    patient: str = ""
    study: str = ""
    kind: str = ""
    outcome: str = ""
    last: str = ""
    since: str = ""
    until: str = ""
    after: str = ""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> AskedAudit:
        """Read the parameters of a URL; what is unknown or of no use is left out."""
        given = {key: parameters.get(key, "").strip() for key in cls.__slots__}
        for key, known in (("kind", KINDS), ("outcome", OUTCOMES), ("last", SPANS)):
            given[key] = given[key] if given[key] in known else ""
        return cls(**given)

    def query(self, **changes: str) -> str:
        """Return the URL's query of this state with changes, ``?`` before it; on the first page unless told."""
        state = replace(self, **({"after": ""} | changes))
        pairs = [(key, getattr(state, key)) for key in self.__slots__]
        return "?" + urlencode([pair for pair in pairs if pair[1]])

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """What narrows the list: label, value, and the query without it."""
        shown = [("User", "user", self.user), ("Patient ID", "patient", self.patient), ("Study", "study", self.study)]
        shown += [("Event", "kind", KINDS.get(self.kind, "")), ("Outcome", "outcome", OUTCOMES.get(self.outcome, ""))]
        shown += [("When", "last", SPANS[self.last][0] if self.last else "")]
        shown += [("From", "since", self.since.replace("T", " ")), ("To", "until", self.until.replace("T", " "))]
        return [(label, value, self.query(**{key: ""})) for label, key, value in shown if value]

    @property
    def sentence(self) -> str:
        """What is asked for, for the trail itself."""
        return ", ".join(f"{label} {value}" for label, value, _ in self.chips) or "everything"

    def filter(self) -> AuditFilter:
        """Return which events are asked for.

        Raises
        ------
        InvalidQueryError
            A time is none; it says so for a person.
        """
        since = now_us() - SPANS[self.last][1] * 1_000_000 if self.last else None
        if self.since:
            since = max(since or 0, _moment(self.since))
        return AuditFilter(
            since,
            # The last minute belongs to what is asked for.
            _moment(self.until, end=True) if self.until else None,
            self.patient,
            self.study,
            self.user,
            Kind(self.kind) if self.kind else None,
            {"failed": True, "succeeded": False}.get(self.outcome),
        )


def _moment(typed: str, *, end: bool = False) -> int:
    try:
        found = datetime.fromisoformat(typed)
    except ValueError:
        raise InvalidQueryError(f"{typed[:32]!r} is no time: write it as 2026-03-01T08:30") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    length = (86_400 if len(typed) <= 10 else 60) if end else 0
    return (int(found.timestamp()) + length) * 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as a line of the page."""

    entry: AuditEntry

    @property
    def event(self) -> AuditEvent:
        """The event."""
        return self.entry.event

    @property
    def when(self) -> str:
        """When it happened, UTC."""
        return text.moment(self.event.when_us).removesuffix(" UTC")

    @property
    def name(self) -> str:
        """What the standard calls it."""
        return event_name(self.event.kind)

    @property
    def what(self) -> str:
        """What was done: its type, or the action."""
        return type_name(self.event.type) or _ACTIONS.get(self.event.action, self.event.action)

    @property
    def failed(self) -> str:
        """How badly it went, empty if it went well."""
        outcome = self.event.outcome
        return "" if outcome is Outcome.SUCCESS else outcome.name.lower().replace("_", " ")

    @property
    def who(self) -> Participant:
        """Who asked for it; the first that took part where nobody did."""
        people = self.event.participants
        return next((one for one in people if one.requestor), people[0] if people else Participant("unknown"))

    @property
    def about(self) -> str:
        """What else it happened to than studies."""
        asked = self.event.query
        return (text.asked(asked.text) if asked and not asked.transfer_syntax else "") or self.event.target

    @property
    def url(self) -> str:
        """Its own page."""
        return f"/ui/audit/events/{text.segment(self.entry.position)}" if self.entry.position else ""


def rows(entries: Sequence[AuditEntry]) -> list[Row]:
    """Return the lines of a page."""
    return [Row(entry) for entry in entries]


def people(event: AuditEvent) -> list[tuple[Participant, str]]:
    """Return who took part, and as what."""
    known = {role: role.name.lower().replace("_", " ") for role in Role if role}
    return [
        (one, ", ".join(part for part in (known.get(one.role, ""), "requestor" if one.requestor else "") if part))
        for one in event.participants
    ]


def message(entry: AuditEntry, source_id: str, site: str) -> str:
    """Return the DICOM audit message (PS3.15 A.5) of an entry, indented for a person."""
    tree = ET.fromstring(to_xml(entry.event, entry.chain or source_id, site))  # noqa: S314  # of this archive's making
    ET.indent(tree)
    return ET.tostring(tree, encoding="unicode")
