"""The instances that both servers hold: three studies of two patients, and one of documents.

They are made here, so that every answer is known.

A study is named by a letter, a series by its number behind it, an instance by its number behind that: ``A1.2``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)

ROOT = "1.2.826.0.1.3680043.10.1561.18"
CREATOR = "ACME 1.1 DEV"
ROWS, COLUMNS, FRAMES = 48, 64, 3
NOWHERE = "1.2.826.0.1.3680043.10.1561.99"

_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "US": UltrasoundMultiFrameImageStorage,
    "SR": BasicTextSRStorage,
    "PDF": EncapsulatedPDFStorage,
    "CDA": EncapsulatedCDAStorage,
}
_ANNA = {
    "PatientName": "Müller^Anna=山田^太郎=やまだ^たろう",
    "PatientID": "CONF-1",
    "IssuerOfPatientID": "HOSPITAL",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
}
_JOHN = {"PatientName": "Schmidt^John", "PatientID": "CONF-2", "PatientBirthDate": "", "PatientSex": "M"}
_STUDIES: dict[str, dict[str, Any]] = {
    "A": _ANNA
    | {"StudyDate": "20260301", "StudyTime": "101530", "AccessionNumber": "ACC-1", "StudyID": "ID-1"}
    | {"ReferringPhysicianName": "Maier^Karl", "StudyDescription": "Head", "TimezoneOffsetFromUTC": "+0100"},
    "B": _JOHN
    | {"StudyDate": "20260302", "StudyTime": "090000", "AccessionNumber": "ACC-2", "StudyID": "ID-2"}
    | {"ReferringPhysicianName": "Smith^Jane", "StudyDescription": "Knee"},
    "C": _JOHN
    | {"StudyDate": "20260303", "StudyTime": "233000", "AccessionNumber": "ACC-3", "StudyID": "ID-3"}
    | {"ReferringPhysicianName": "Smith^Jane", "StudyDescription": "Knee, later"},
    # Of documents; not of the patients that are searched for.
    "D": {"PatientID": "DOC-1", "PatientName": "Doc^Umentia", "StudyDate": "20250101", "StudyTime": "120000"},
}
DOCUMENTS = {
    "application/pdf": b"%PDF-1.4\n%%EOF\n",
    "text/xml": b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>',
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance."""

    label: str
    data_set: Dataset
    file: bytes

    def copy(self) -> Dataset:
        """Return its data set as it is read from the file, to be changed."""
        return pydicom.dcmread(io.BytesIO(self.file))

    @property
    def url(self) -> str:
        """Path of the instance below the base."""
        found = self.data_set
        series = f"/studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}"
        return f"{series}/instances/{found.SOPInstanceUID}"

    @property
    def series(self) -> str:
        """Path of its series."""
        return self.url.partition("/instances/")[0]

    @property
    def study(self) -> str:
        """Path of its study."""
        return self.url.partition("/series/")[0]


def uid_of(label: str) -> str:
    """Return the UID of a study, a series or an instance."""
    above, _, number = label.partition(".")
    parts = [str(ord(above[0]) - 64), above[1:], number]
    return ".".join([ROOT, *(part for part in parts if part)])


def label_of(uid: str) -> str:
    """Return what a UID of the samples is called here; empty for any other UID."""
    if not uid.startswith(f"{ROOT}."):
        return ""
    study, *below = uid.removeprefix(f"{ROOT}.").split(".")
    return chr(64 + int(study)) + ".".join(below)


def _base(label: str, modality: str) -> Dataset:
    study, series, number = label[0], label[1:].partition(".")[0], label.partition(".")[2]
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = _CLASSES[modality]
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = uid_of(study), uid_of(study + series), uid_of(label)
    for keyword, value in _STUDIES[study].items():
        setattr(ds, keyword, value)
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, series, number
    ds.AcquisitionDateTime = f"{ds.StudyDate}{10 + int(series):02d}1500.5"
    ds.SeriesDescription = f"series {series}"
    ds.PerformedProcedureStepStartDate = ds.StudyDate
    ds.PerformedProcedureStepStartTime = f"{10 + int(series):02d}0000"
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS-{study}{series}", f"RP-{study}"
    ds.RequestAttributesSequence = [item]
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = f"OTHER-{ds.PatientID}", "ELSEWHERE"
    ds.OtherPatientIDsSequence = [other]
    block = ds.private_block(0x0029, CREATOR, create=True)
    block.add_new(0x08, "LO", f"private {label}")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def pixels(number: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return the pixels of a CT or MR image here: brighter to the right, and a little more from row to row."""
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    made: np.ndarray[Any, np.dtype[np.uint16]] = (columns * 60 + rows * 4 + number).astype(np.uint16)
    return made


def frame(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a frame of the ultrasound, numbered from 1: each has its own grey, and a bright corner."""
    made = np.full((ROWS, COLUMNS), 40 * number, np.uint8)
    made[:8, :8] = 250
    return made


def _image(ds: Dataset, data: bytes, bits: int) -> Dataset:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, min(bits, 12), min(bits, 12) - 1
    ds.PixelData = data
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    if bits > 8:
        ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    return ds


def _every_vr(ds: Dataset) -> Dataset:
    block = ds.private_block(0x0031, CREATOR, create=True)
    texts = {"AE": "TITLE", "AS": "056Y", "CS": "CODE", "DA": "20260301", "DS": "1.50", "DT": "20260301101530+0100"}
    texts |= {"IS": "-7", "LO": "long", "LT": "long text", "PN": "Doe^Jane", "SH": "short", "ST": "short text"}
    texts |= {"TM": "101530.25", "UC": "unlimited", "UI": "1.2.3", "UR": "urn:x", "UT": "unlimited text"}
    numbers = {"FD": 1.5, "FL": -2.5, "SL": -70000, "SS": -7, "SV": -(2**40), "UL": 70000, "US": 7, "UV": 2**40}
    binary = {vr: bytes(range(16)) for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN")}
    for number, (vr, value) in enumerate((texts | numbers | binary).items()):
        block.add_new(number, vr, value)
    block.add_new(0x70, "AT", 0x00100010)
    inner = Dataset()
    inner.CodeValue = "inner"
    block.add_new(0x71, "SQ", [inner])
    return ds


def _report(ds: Dataset) -> Dataset:
    ds.CompletionFlag, ds.VerificationFlag, ds.ValueType = "COMPLETE", "UNVERIFIED", "CONTAINER"
    ds.ContentDate, ds.ContentTime, ds.ContinuityOfContent = ds.StudyDate, ds.StudyTime, "SEPARATE"
    ds.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "No <abnormality> was seen."
    text.ConceptNameCodeSequence = [_code("121071", "DCM", "Finding")]
    ds.ContentSequence = [text]
    return ds


def _document(ds: Dataset, kind: str) -> Dataset:
    content = DOCUMENTS[kind]
    ds.Modality, ds.MIMETypeOfEncapsulatedDocument = "DOC", kind
    ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = content + bytes(len(content) % 2), len(content)
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def _data_sets() -> Iterator[tuple[str, Dataset]]:
    for number in (1, 2, 3):
        yield f"A1.{number}", _image(_base(f"A1.{number}", "CT"), pixels(number).tobytes(), 16)
    yield "A2.1", _image(_base("A2.1", "MR"), pixels(9).tobytes(), 16)
    several = _image(_base("B1.1", "US"), b"".join(frame(number).tobytes() for number in range(1, FRAMES + 1)), 8)
    several.WindowCenter, several.WindowWidth = "128", "256"
    several.NumberOfFrames, several.FrameTime = FRAMES, "40"
    several.FrameIncrementPointer = pydicom.tag.Tag("FrameTime")
    yield "B1.1", several
    compressed = _image(_base("C1.1", "CT"), pixels(5).tobytes(), 16)
    compressed.compress(RLELossless, generate_instance_uid=False)
    yield "C1.1", compressed
    yield "C2.1", _every_vr(_image(_base("C2.1", "MR"), pixels(6).tobytes(), 16))
    yield "C3.1", _report(_base("C3.1", "SR"))
    yield "D1.1", _document(_base("D1.1", "PDF"), "application/pdf")
    yield "D2.1", _document(_base("D2.1", "CDA"), "text/xml")


def file_of(ds: Dataset) -> bytes:
    """Return a data set as a Part-10 file."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


SAMPLES = [Sample(label, ds, file_of(ds)) for label, ds in _data_sets()]
BY_LABEL = {sample.label: sample for sample in SAMPLES}
