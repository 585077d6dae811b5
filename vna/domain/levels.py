"""Which attribute belongs to which level of the information model.

From the modules of the Patient, Study and Series information entities (PS3.3
C.7.1 to C.7.3) and the query keys of PS3.4 C.6.1.1 and PS3.18 10.6.1.2. What is
named nowhere here is of the instance.
"""

from __future__ import annotations

from types import MappingProxyType

from vna.domain.query import Level

_PATIENT = {
    "00100010": "PN",  # PatientName
    "00100020": "LO",  # PatientID
    "00100021": "LO",  # IssuerOfPatientID
    "00100024": "SQ",  # IssuerOfPatientIDQualifiersSequence
    "00100030": "DA",  # PatientBirthDate
    "00100032": "TM",  # PatientBirthTime
    "00100040": "CS",  # PatientSex
    "00101000": "LO",  # OtherPatientIDs
    "00101001": "PN",  # OtherPatientNames
    "00101002": "SQ",  # OtherPatientIDsSequence
    "00102160": "SH",  # EthnicGroup
    "00104000": "LT",  # PatientComments
}
_STUDY = {
    "0020000D": "UI",  # StudyInstanceUID
    "00080020": "DA",  # StudyDate
    "00080030": "TM",  # StudyTime
    "00080050": "SH",  # AccessionNumber
    "00080051": "SQ",  # IssuerOfAccessionNumberSequence
    "00200010": "SH",  # StudyID
    "00080090": "PN",  # ReferringPhysicianName
    "00081030": "LO",  # StudyDescription
    "00081032": "SQ",  # ProcedureCodeSequence
    "00081048": "PN",  # PhysiciansOfRecord
    "00081060": "PN",  # NameOfPhysiciansReadingStudy
    "00081080": "LO",  # AdmittingDiagnosesDescription
    "00101010": "AS",  # PatientAge
    "00101020": "DS",  # PatientSize
    "00101030": "DS",  # PatientWeight
    "00102180": "SH",  # Occupation
    "001021B0": "LT",  # AdditionalPatientHistory
    "00380010": "LO",  # AdmissionID
    "00080061": "CS",  # ModalitiesInStudy
    "00080062": "UI",  # SOPClassesInStudy
    "00080201": "SH",  # TimezoneOffsetFromUTC: of each instance, and returned for studies and series
}
_SERIES = {
    "0020000E": "UI",  # SeriesInstanceUID
    "00080060": "CS",  # Modality
    "00200011": "IS",  # SeriesNumber
    "00080021": "DA",  # SeriesDate
    "00080031": "TM",  # SeriesTime
    "0008103E": "LO",  # SeriesDescription
    "00080070": "LO",  # Manufacturer
    "00081090": "LO",  # ManufacturerModelName
    "00080080": "LO",  # InstitutionName
    "00081010": "SH",  # StationName
    "00081040": "LO",  # InstitutionalDepartmentName
    "00081050": "PN",  # PerformingPhysicianName
    "00081070": "PN",  # OperatorsName
    "00180015": "CS",  # BodyPartExamined
    "00180060": "DS",  # KVP
    "00181000": "LO",  # DeviceSerialNumber
    "00181020": "LO",  # SoftwareVersions
    "00181030": "LO",  # ProtocolName
    "00185100": "CS",  # PatientPosition
    "00200052": "UI",  # FrameOfReferenceUID
    "00200060": "CS",  # Laterality
    "00400244": "DA",  # PerformedProcedureStepStartDate
    "00400245": "TM",  # PerformedProcedureStepStartTime
    "00400253": "SH",  # PerformedProcedureStepID
    "00400254": "LO",  # PerformedProcedureStepDescription
    "00400260": "SQ",  # PerformedProtocolCodeSequence
    "00400275": "SQ",  # RequestAttributesSequence
}

LEVEL_OF: MappingProxyType[str, Level] = MappingProxyType(
    dict.fromkeys(_PATIENT, Level.PATIENT) | dict.fromkeys(_STUDY, Level.STUDY) | dict.fromkeys(_SERIES, Level.SERIES)
)
"""Level of an attribute by tag (eight hex digits); absent means ``Level.INSTANCE``."""

VR_OF: MappingProxyType[str, str] = MappingProxyType(_PATIENT | _STUDY | _SERIES)
"""Value representation (PS3.5 6.2) of the attributes in :data:`LEVEL_OF`."""

RANK: MappingProxyType[Level, int] = MappingProxyType({level: rank for rank, level in enumerate(Level)})
"""0 for PATIENT to 3 for INSTANCE."""


def level_of(path: str) -> Level:
    """Return the level that a path's attribute belongs to, by the first tag of the path."""
    return LEVEL_OF.get(path[:8], Level.INSTANCE)


def visible_at(path: str, level: Level) -> bool:
    """Say whether an attribute is of a level or above it, so that an entity of the level has one value."""
    return RANK[level_of(path)] <= RANK[level]
