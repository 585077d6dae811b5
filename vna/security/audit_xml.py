"""The audit message of the standard: XML after the schema of PS3.15 A.5.1."""

from __future__ import annotations

import base64
import ipaddress
import re
from xml.etree import ElementTree as ET

from vna.domain.audit import AuditEvent, Kind, Participant, QueryObject, Role, StudyObject, Type
from vna.domain.origin import iso_utc

_EVENTS = {
    Kind.APPLICATION_ACTIVITY: ("110100", "Application Activity"),
    Kind.AUDIT_LOG_USED: ("110101", "Audit Log Used"),
    Kind.BEGIN_TRANSFERRING: ("110102", "Begin Transferring DICOM Instances"),
    Kind.INSTANCES_ACCESSED: ("110103", "DICOM Instances Accessed"),
    Kind.INSTANCES_TRANSFERRED: ("110104", "DICOM Instances Transferred"),
    Kind.STUDY_DELETED: ("110105", "DICOM Study Deleted"),
    Kind.EXPORT: ("110106", "Export"),
    Kind.IMPORT: ("110107", "Import"),
    Kind.NETWORK_ENTRY: ("110108", "Network Entry"),
    Kind.PROCEDURE_RECORD: ("110111", "Procedure Record"),
    Kind.QUERY: ("110112", "Query"),
    Kind.SECURITY_ALERT: ("110113", "Security Alert"),
    Kind.USER_AUTHENTICATION: ("110114", "User Authentication"),
}
_TYPES = {
    Type.START: "Application Start",
    Type.STOP: "Application Stop",
    Type.LOGIN: "Login",
    Type.LOGOUT: "Logout",
    Type.ATTACH: "Attach",
    Type.DETACH: "Detach",
    Type.NODE_AUTHENTICATION: "Node Authentication",
    Type.RESTRICTED_FUNCTION: "Use of Restricted Function",
}
_ROLES = {
    Role.APPLICATION: "Application",
    Role.LAUNCHER: "Application Launcher",
    Role.DESTINATION: "Destination Role ID",
    Role.SOURCE: "Source Role ID",
    Role.DESTINATION_MEDIA: "Destination Media",
    Role.SOURCE_MEDIA: "Source Media",
}
_MEDIA = (Role.DESTINATION_MEDIA, Role.SOURCE_MEDIA)
# What XML 1.0 has no way to write.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def event_name(kind: Kind) -> str:
    """Return what the standard calls a kind of event."""
    return _EVENTS[kind][1]


def type_name(kind: Type) -> str:
    """Return what the standard calls a type of event, empty for none."""
    return _TYPES.get(kind, "")


def to_xml(event: AuditEvent, source_id: str, site: str = "") -> bytes:
    """Return an event as an AuditMessage, UTF-8 without an XML declaration and on one line.

    Parameters
    ----------
    event
        The event.
    source_id
        AuditSourceID: which system reports it.
    site
        AuditEnterpriseSiteID, left out if empty.
    """
    message = ET.Element("AuditMessage")
    head = _add(
        message,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=iso_utc(event.when_us),
        EventOutcomeIndicator=str(int(event.outcome)),
    )
    _coded(head, "EventID", *_EVENTS[event.kind])
    if event.type:
        _coded(head, "EventTypeCode", event.type, _TYPES[event.type])
    if event.detail:
        _add(head, "EventOutcomeDescription").text = _text(event.detail)
    for each in event.participants:
        _participant(message, each)
    source = _add(message, "AuditSourceIdentification", AuditEnterpriseSiteID=site, AuditSourceID=source_id)
    _add(source, "AuditSourceTypeCode", **{"csd-code": "4"})
    for study in event.studies:
        _study(message, study)
    for patient in dict.fromkeys(study.patient_id for study in event.studies):
        _patient(message, patient)
    if event.query is not None:
        _query(message, event.query)
    if event.target:
        _target(message, event)
    data: bytes = ET.tostring(message, encoding="utf-8")
    # What somebody wrote into a path or a file may have line ends, which stand in texts as they are.
    return data.replace(b"\r", b"&#13;").replace(b"\n", b"&#10;")


def _text(value: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", value)


def _add(parent: ET.Element, name: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, name, {key: _text(value) for key, value in attributes.items() if value})


def _coded(parent: ET.Element, name: str, code: str, meaning: str, scheme: str = "DCM") -> None:
    _add(parent, name, **{"csd-code": code, "codeSystemName": scheme, "originalText": meaning})


def _participant(message: ET.Element, who: Participant) -> None:
    node = _add(
        message,
        "ActiveParticipant",
        AlternativeUserID=f"AETITLES={who.alternative}" if who.alternative else "",
        UserName=who.name,
        UserIsRequestor="true" if who.requestor else "false",
        NetworkAccessPointID=who.address,
        NetworkAccessPointTypeCode=_access_point(who.address),
    )
    node.set("UserID", _text(who.user))
    if who.role:
        _coded(node, "RoleIDCode", who.role, _ROLES[who.role])
    if who.role in _MEDIA:
        _coded(_add(node, "MediaIdentifier"), "MediaType", "110038", "URI")


def _access_point(address: str) -> str:
    """Return the type of a network access point: 1 a host name, 2 an IP address."""
    if not address:
        return ""
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "1"
    return "2"


def _object(message: ET.Element, kind: str, role: str, identity: str) -> ET.Element:
    node = _add(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    node.set("ParticipantObjectID", _text(identity))
    return node


def _study(message: ET.Element, study: StudyObject) -> None:
    node = _object(message, "2", "3", study.uid)
    _coded(node, "ParticipantObjectIDTypeCode", "110180", "Study Instance UID")
    _add(node, "ParticipantObjectName").text = _text(study.uid)
    if study.classes:
        description = _add(node, "ParticipantObjectDescription")
        for uid, count in study.classes:
            _add(description, "SOPClass", UID=uid, NumberOfInstances=str(count))


def _patient(message: ET.Element, patient_id: str) -> None:
    node = _object(message, "1", "1", patient_id)
    _coded(node, "ParticipantObjectIDTypeCode", "2", "Patient Number", "RFC-3881")
    _add(node, "ParticipantObjectName")


def _query(message: ET.Element, asked: QueryObject) -> None:
    if asked.transfer_syntax:
        node = _object(message, "2", "3", asked.target)
        _coded(node, "ParticipantObjectIDTypeCode", "110181", "SOP Class UID")
        _add(node, "ParticipantObjectQuery").text = asked.text
        _detail(node, "TransferSyntax", asked.transfer_syntax)
        return
    node = _object(message, "2", "24", asked.target)
    _coded(node, "ParticipantObjectIDTypeCode", "10", "Search Criteria", "RFC-3881")
    _add(node, "ParticipantObjectQuery").text = _base64(asked.text)


def _target(message: ET.Element, event: AuditEvent) -> None:
    used = event.kind is Kind.AUDIT_LOG_USED
    node = _object(message, "2", "13", event.target)
    _coded(node, "ParticipantObjectIDTypeCode", "12", "URI", "RFC-3881")
    _add(node, "ParticipantObjectName").text = "Security Audit Log" if used else _text(event.target)
    if event.kind is Kind.SECURITY_ALERT:
        _detail(node, "Alert Description", event.detail)


def _detail(node: ET.Element, name: str, value: str) -> None:
    _add(node, "ParticipantObjectDetail", type=name).set("value", _base64(value))


def _base64(value: str) -> str:
    return base64.b64encode(value.encode("utf-8", "replace")).decode()
