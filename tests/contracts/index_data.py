"""Builders of indexed instances, and the collection that the search tests look through."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from vna.domain.identity import InstanceUids, object_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance

PATIENT_NAME = "00100010"
PATIENT_ID = "00100020"
ISSUER = "00100021"
BIRTH_DATE = "00100030"
STUDY_UID = "0020000D"
STUDY_DATE = "00080020"
STUDY_TIME = "00080030"
ACCESSION = "00080050"
STUDY_DESCRIPTION = "00081030"
MODALITIES_IN_STUDY = "00080061"
SOP_CLASSES_IN_STUDY = "00080062"
SERIES_UID = "0020000E"
MODALITY = "00080060"
SERIES_NUMBER = "00200011"
SERIES_DESCRIPTION = "0008103E"
BODY_PART = "00180015"
SCHEDULED_STEP_ID = "00400275.00400009"
SOP_UID = "00080018"
SOP_CLASS_UID = "00080016"
INSTANCE_NUMBER = "00200013"
IMAGE_TYPE = "00080008"
PRIVATE = "0029xx08@SIEMENS CSA HEADER"
PATIENT_STUDIES = "00201200"
PATIENT_SERIES = "00201202"
PATIENT_INSTANCES = "00201204"
STUDY_SERIES = "00201206"
STUDY_INSTANCES = "00201208"
SERIES_INSTANCES = "00201209"

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT = "1.2.840.10008.1.2.1"
NOON = 1_700_000_000_000_000
"""A moment in microseconds; tests add to it."""

_VRS = {
    PATIENT_NAME: "PN",
    BIRTH_DATE: "DA",
    STUDY_DATE: "DA",
    STUDY_TIME: "TM",
    STUDY_UID: "UI",
    SERIES_UID: "UI",
    SOP_UID: "UI",
    SOP_CLASS_UID: "UI",
    MODALITY: "CS",
    SERIES_NUMBER: "IS",
    INSTANCE_NUMBER: "IS",
    ACCESSION: "SH",
}


def _attribute(path: str, values: tuple[str, ...]) -> dict[str, Any]:
    vr = _VRS.get(path, "LO")
    if vr == "PN":
        return {"vr": vr, "Value": [{"Alphabetic": value.upper()} for value in values]}
    if vr == "IS" and all(value.isdigit() for value in values):
        return {"vr": vr, "Value": [int(value) for value in values]}
    return {"vr": vr, "Value": list(values)}


def instance(
    study: str = "1.2.1",
    series: str = "1",
    sop: str = "1",
    *,
    received: int = 0,
    content: str = "",
    sop_class: str = CT,
    size: int = 1000,
    words: tuple[str, ...] = (),
    terms: Mapping[str, str | tuple[str, ...] | None] | None = None,
) -> IndexedInstance:
    """Build an instance.

    Parameters
    ----------
    study
        Study Instance UID.
    series, sop
        What is appended to the UID of the level above.
    received
        Microseconds after ``NOON``.
    content
        What its bytes, and so its digest, differ by.
    sop_class, size, words
        As in ``IndexedInstance``.
    terms
        Terms beside the usual ones, or instead of them; ``None`` leaves one out.
    """
    uids = InstanceUids(study, f"{study}.{series}", f"{study}.{series}.{sop}")
    digest = hashlib.sha256(f"{uids}{content}".encode()).hexdigest()
    given: dict[str, str | tuple[str, ...] | None] = {
        PATIENT_NAME: "doe^jane",
        PATIENT_ID: "P1",
        STUDY_DATE: "20240115",
        STUDY_TIME: "101500.000000",
        MODALITY: "CT",
        SERIES_NUMBER: series,
        INSTANCE_NUMBER: sop,
        **(terms or {}),
        STUDY_UID: uids.study,
        SERIES_UID: uids.series,
        SOP_UID: uids.sop,
        SOP_CLASS_UID: sop_class,
    }
    texts = {path: (text,) if isinstance(text, str) else text for path, text in given.items() if text is not None}
    return IndexedInstance(
        uids=uids,
        sop_class=sop_class,
        transfer_syntax=EXPLICIT,
        digest=digest,
        size=size,
        received_us=NOON + received,
        origin=Origin("dimse", "MODALITY", "VNA", "127.0.0.1"),
        key=object_key(uids, digest),
        attributes={path: _attribute(path, texts[path]) for path in sorted(texts) if len(path) == 8},
        terms=texts,
        words=words,
    )


def collection() -> list[IndexedInstance]:
    """Return the studies that the search tests look through.

    ====== ======== =================== ========== ==================== ======================
    study  patient  name                date       series               note
    ====== ======== =================== ========== ==================== ======================
    1.1    P1       doe^jane            20240115   1 CT 12, 2 SR 1      two names, words
    1.2    P1       doe^jane            20240301   1 MR 3               same patient
    1.3    P1@B     roe^richard         20240301   1 CT 1               same ID, other issuer
    1.4    P%4      o'hara^scar*let     20231231   1 CT 1               special characters
    1.5    P_4      doe[x]^jim          no date    1 CT 1               no time either
    1.6    (none)   (none)              20240301   1 CT 1               no time, no patient
    ====== ======== =================== ========== ==================== ======================
    """
    first: dict[str, str | tuple[str, ...] | None] = {
        PATIENT_NAME: ("doe^jane", "田中^花子"),
        BIRTH_DATE: "19700229",
        ACCESSION: "A-1",
        STUDY_DESCRIPTION: "head trauma",
    }
    found = [
        instance(
            "1.1",
            "1",
            str(number),
            received=number,
            words=("head", "trauma", "axial", "doe", "jane"),
            terms={
                **first,
                SERIES_DESCRIPTION: "axial thin",
                BODY_PART: "HEAD",
                SCHEDULED_STEP_ID: ("STEP1", "STEP2"),
                IMAGE_TYPE: ("ORIGINAL", "PRIMARY", "AXIAL" if number % 2 else "LOCALIZER"),
                PRIVATE: "mosaic" if number == 3 else None,
            },
        )
        for number in range(1, 13)
    ]
    found.append(
        instance(
            "1.1",
            "2",
            "1",
            received=100,
            sop_class=SR,
            words=("head", "trauma", "report", "doe", "jane"),
            terms={**first, MODALITY: "SR", SERIES_DESCRIPTION: "report"},
        )
    )
    found += [
        instance(
            "1.2",
            "1",
            str(number),
            received=200 + number,
            sop_class=MR,
            words=("knee", "left", "größe", "doe", "jane"),
            terms={STUDY_DATE: "20240301", STUDY_TIME: "080000.000000", MODALITY: "MR", BODY_PART: "KNEE"},
        )
        for number in range(1, 4)
    ]
    found += [
        instance(
            "1.3",
            received=300,
            words=("thorax", "roe", "richard"),
            terms={
                PATIENT_NAME: "roe^richard",
                ISSUER: "B",
                STUDY_DATE: "20240301",
                STUDY_TIME: "235959.500000",
            },
        ),
        instance(
            "1.4",
            received=400,
            terms={
                PATIENT_NAME: "o'hara^scar*let",
                PATIENT_ID: "P%4",
                STUDY_DATE: "20231231",
                STUDY_TIME: "120000.000000",
                ACCESSION: "100%",
            },
        ),
        instance(
            "1.5",
            received=500,
            terms={
                PATIENT_NAME: "doe[x]^jim",
                PATIENT_ID: "P_4",
                STUDY_DATE: None,
                STUDY_TIME: None,
                ACCESSION: "a\\b?",
            },
        ),
        instance(
            "1.6",
            received=600,
            terms={PATIENT_NAME: None, PATIENT_ID: None, STUDY_DATE: "20240301", STUDY_TIME: None},
        ),
    ]
    return found
