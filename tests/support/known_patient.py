"""Instances of a patient of whom everything is known, so that nothing of it may be found elsewhere."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from tests.support.real_files import real_file

STUDY = "1.2.826.0.1.3680043.10.1.7"
CT_SERIES, SC_SERIES, REPORT_SERIES = f"{STUDY}.1", f"{STUDY}.2", f"{STUDY}.3"
CT, CT_RLE, SC, REPORT, PDF = f"{STUDY}.1.1", f"{STUDY}.1.2", f"{STUDY}.2.1", f"{STUDY}.3.1", f"{STUDY}.3.2"

SECRETS = (
    *("Prefect", "Dentarthurdent", "BTLGS-42-ID", "OTHER-77-ID", "ISSUER-OF-GUILDFORD", "ACC-31415", "VISIT-2718"),
    *("19520311", "1952-03-11", "20231118", "2023-11-18", "2023.11.18", "074512", "07:45:12", "STUDYID-99"),
    *(
        "Saint Cedds Hospital",
        "Magrathea Road",
        "Slartibartfast",
        "Zarniwoop",
        "Marvin",
        "STATION-OF-MARS",
        "SERIAL-6x9",
    ),
    *("Vogon private text", "SENDING-PLACE", "towel description", "knee of a hitchhiker", "PREAMBLE OF A DISC"),
)
"""All that tells whose they are, where and when they were made, and by whom."""


_UID = re.compile(r"\b[0-2]\.[0-9]+\.[0-9.]{4,}")


def secrets_in(text: str) -> set[str]:
    """Return what of it a text tells. UIDs are retained, whatever digits they have."""
    plain = _UID.sub(" ", text).lower()
    return {secret for secret in SECRETS if secret.lower() in plain}


@dataclass(frozen=True)
class KnownPatient:
    """Files to be stored, by SOP Instance UID."""

    files: dict[str, bytes]


def known_patient() -> KnownPatient:
    """Make a study: two CT images, a screenshot, a report and a letter."""
    ct = pydicom.dcmread(real_file("CT_small.dcm"))
    _identify(ct, CT_SERIES, CT)
    packed = pydicom.dcmread(io.BytesIO(_bytes(ct)))
    packed.SOPInstanceUID, packed.InstanceNumber = CT_RLE, "2"
    packed.compress(RLELossless, generate_instance_uid=False)
    screen = pydicom.dcmread(real_file("SC_rgb.dcm"))
    _identify(screen, SC_SERIES, SC)
    screen.SOPClassUID = SecondaryCaptureImageStorage
    report = pydicom.dcmread(real_file("reportsi.dcm"))
    _identify(report, REPORT_SERIES, REPORT)
    letter = Dataset()
    letter.file_meta = pydicom.dataset.FileMetaDataset()
    letter.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    letter.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    letter.Modality, letter.MIMETypeOfEncapsulatedDocument = "DOC", "application/pdf"
    letter.EncapsulatedDocument = b"%PDF-1.4 Dear Mr Dentarthurdent " + b" " * 5000
    _identify(letter, REPORT_SERIES, PDF)
    made = {CT: ct, CT_RLE: packed, SC: screen, REPORT: report, PDF: letter}
    return KnownPatient({uid: _bytes(data) for uid, data in made.items()})


def _identify(data: Dataset, series: str, sop: str) -> None:
    data.SpecificCharacterSet = "ISO_IR 192"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = STUDY, series, sop
    data.PatientName, data.PatientID, data.IssuerOfPatientID = (
        "Dentarthurdent^Prefect",
        "BTLGS-42-ID",
        "ISSUER-OF-GUILDFORD",
    )
    data.OtherPatientIDs = "OTHER-77-ID"
    data.PatientBirthDate, data.PatientSex, data.PatientAge = "19520311", "M", "071Y"
    data.AccessionNumber, data.StudyID, data.AdmissionID = "ACC-31415", "STUDYID-99", "VISIT-2718"
    for name in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(data, name, "20231118")
    for name in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(data, name, "074512")
    data.AcquisitionDateTime = "20231118074512.25"
    data.InstitutionName, data.InstitutionAddress = "Saint Cedds Hospital", "1 Magrathea Road"
    data.ReferringPhysicianName, data.OperatorsName = "Slartibartfast^Dr", "Zarniwoop^Op"
    data.StationName, data.DeviceSerialNumber = "STATION-OF-MARS", "SERIAL-6x9"
    data.StudyDescription, data.SeriesDescription = "towel description", "knee of a hitchhiker"
    data.PatientComments = "Marvin says Dentarthurdent"
    data.SeriesNumber, data.InstanceNumber = series[-1], sop[-1]
    data.private_block(0x0009, "VOGON", create=True).add_new(1, "LO", "Vogon private text")
    step = Dataset()
    step.RequestedProcedureID, step.ScheduledProcedureStepDescription = "ACC-31415", "knee of a hitchhiker"
    data.RequestAttributesSequence = Sequence([step])
    source = Dataset()
    source.PersonName, source.TextValue = "Prefect^Ford", "towel description"
    data.ReferencedStudySequence = Sequence([source])
    data.file_meta.SourceApplicationEntityTitle = "SENDING-PLACE"
    data.preamble = b"PREAMBLE OF A DISC".ljust(128, b"\0")


def _bytes(data: Dataset) -> bytes:
    target = io.BytesIO()
    pydicom.dcmwrite(target, data, enforce_file_format=True)
    return target.getvalue()
