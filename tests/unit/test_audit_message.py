"""The audit messages are those of PS3.15 A.5."""

from __future__ import annotations

import base64

import pytest

from tests.support.audit_message import parse_message
from vna.domain.audit import AuditEvent, Kind, Participant, QueryObject, Role, StudyObject
from vna.peers.syslog import frame, message
from vna.security import audit_events as events
from vna.security.audit_xml import to_xml

CT = "1.2.840.10008.5.1.4.1.1.2"
ALICE = Participant("alice", requestor=True, address="10.0.0.7", name="Alice <A&B>")
PROCESS = Participant("vna", address="archive01", alternative="VNA")
SOURCE = Participant("CT01", Role.SOURCE, requestor=True, address="2001:db8::1")
DESTINATION = Participant("vna", Role.DESTINATION)
STUDIES = (StudyObject("1.2.3", "P1", ((CT, 120),)), StudyObject("1.2.4", "P1"))

EVERY = (
    events.application_activity("vna-http", start=True, ae_title="VNA"),
    events.application_activity("vna-http", start=False),
    events.audit_log_used(ALICE, PROCESS, "/ui/audit", "patient 12345"),
    events.begin_transferring(SOURCE, DESTINATION, "3 instances received"),
    events.transferred(SOURCE, DESTINATION, STUDIES, action="C"),
    events.accessed(ALICE, PROCESS, STUDIES),
    events.exported(ALICE, "share", STUDIES),
    events.imported(ALICE, "files", STUDIES),
    events.study_deleted(ALICE, STUDIES),
    events.refused_association(SOURCE, PROCESS, "not a peer"),
    events.query(SOURCE, DESTINATION, QueryObject("1.2.840.10008.5.1.4.1.2.2.1", "AAEC", "1.2.840.10008.1.2")),
    events.query(SOURCE, DESTINATION, QueryObject("/dicom-web/studies", "/dicom-web/studies?PatientName=Ä*")),
    events.refused_access(ALICE, PROCESS, "/dicom-web/studies", "GET refused with 403"),
    events.authentication(ALICE, PROCESS, succeeded=False),
    events.authentication(ALICE, PROCESS, login=False),
    events.procedure_record(ALICE, PROCESS, "/dicom-web/workitems/1.2", STUDIES[:1], action="U", detail="state"),
)
# EventID, and the actions that A.5.3 allows.
_ALLOWED = {
    Kind.APPLICATION_ACTIVITY: ("110100", "E"),
    Kind.AUDIT_LOG_USED: ("110101", "R"),
    Kind.BEGIN_TRANSFERRING: ("110102", "E"),
    Kind.INSTANCES_ACCESSED: ("110103", "CRUD"),
    Kind.INSTANCES_TRANSFERRED: ("110104", "CRU"),
    Kind.STUDY_DELETED: ("110105", "D"),
    Kind.EXPORT: ("110106", "R"),
    Kind.IMPORT: ("110107", "C"),
    Kind.NETWORK_ENTRY: ("110108", "E"),
    Kind.PROCEDURE_RECORD: ("110111", "CRUD"),
    Kind.QUERY: ("110112", "E"),
    Kind.SECURITY_ALERT: ("110113", "E"),
    Kind.USER_AUTHENTICATION: ("110114", "E"),
}


def test_every_kind_is_checked_here() -> None:
    assert {event.kind for event in EVERY} == set(Kind) == set(_ALLOWED)


@pytest.mark.parametrize("event", EVERY, ids=lambda event: str(event.kind))
def test_every_message_fits_the_schema_and_its_section(event: AuditEvent) -> None:
    data = to_xml(event, "archive01", "Site 1")
    assert b"\n" not in data
    root = parse_message(data)
    code, actions = _ALLOWED[event.kind]
    assert root.find("EventIdentification/EventID").get("csd-code") == code
    assert root.find("EventIdentification").get("EventActionCode") in actions
    assert root.find("AuditSourceIdentification").get("AuditEnterpriseSiteID") == "Site 1"
    assert len(root.findall("ActiveParticipant")) == len(event.participants)


def test_a_transfer_tells_studies_sop_classes_counts_and_the_patient_once() -> None:
    root = parse_message(to_xml(EVERY[4], "archive01"))
    objects = root.findall("ParticipantObjectIdentification")
    assert [(one.get("ParticipantObjectTypeCodeRole"), one.get("ParticipantObjectID")) for one in objects] == [
        ("3", "1.2.3"),
        ("3", "1.2.4"),
        ("1", "P1"),
    ]
    counted = objects[0].find("ParticipantObjectDescription/SOPClass")
    assert (counted.get("UID"), counted.get("NumberOfInstances")) == (CT, "120")
    roles = [one.find("RoleIDCode").get("csd-code") for one in root.findall("ActiveParticipant")]
    assert roles == ["110153", "110152"]
    source = root.find("ActiveParticipant")
    assert (source.get("NetworkAccessPointID"), source.get("NetworkAccessPointTypeCode")) == ("2001:db8::1", "2")


def test_a_query_holds_the_identifier_and_its_transfer_syntax() -> None:
    root = parse_message(to_xml(EVERY[10], "archive01"))
    (asked,) = root.findall("ParticipantObjectIdentification")
    assert asked.findtext("ParticipantObjectQuery") == "AAEC"
    detail = asked.find("ParticipantObjectDetail")
    assert base64.b64decode(detail.get("value")) == b"1.2.840.10008.1.2"


def test_characters_that_xml_cannot_write_are_replaced() -> None:
    who = Participant("a\0\x1b]b\ud800", requestor=True)
    root = parse_message(to_xml(events.accessed(who, PROCESS, ()), "archive01"))
    assert root.find("ActiveParticipant").get("UserID") == "a\ufffd\ufffd]b\ufffd"


def test_a_message_is_one_line_whatever_somebody_wrote() -> None:
    text = "/a\nb\r\n<c>"
    data = to_xml(events.refused_access(ALICE, PROCESS, text, text), "archive01")
    assert len(data.splitlines()) == 1
    assert text in [each.text for each in parse_message(data).iter("ParticipantObjectName")]


def test_a_syslog_message_is_framed_by_its_length_in_bytes() -> None:
    content = message(EVERY[11], "archive 01")
    head, _, body = content.partition(b"\xef\xbb\xbf")
    fields = head.decode().split(" ")
    assert fields[0] == "<85>1"
    assert (fields[2], fields[3], fields[5]) == ("archive_01", "vna", "DICOM+RFC3881")
    assert f'id="{EVERY[11].id}"' in head.decode()
    parse_message(body)
    assert frame(content) == str(len(content)).encode() + b" " + content
    assert message(EVERY[12], "a").startswith(b"<84>1 ")
