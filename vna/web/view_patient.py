"""A patient's studies through the years."""

from __future__ import annotations

from dataclasses import dataclass

from vna.domain.errors import NotFoundError
from vna.domain.query import AnyOf, Level, Query
from vna.ports.index import IndexReader
from vna.web.view_study import ISSUER, PATIENT_ID, Patient, Study

MOST_STUDIES = 2000
UNDATED = "no date"


@dataclass(frozen=True, slots=True)
class Timeline:
    """A patient, and what there is of each year, the latest first.

    ``table`` has for each modality the number of studies of each year, in the order of ``years``.
    """

    patient: Patient
    years: tuple[tuple[str, tuple[Study, ...]], ...]
    table: tuple[tuple[str, tuple[int, ...]], ...]
    total: int
    names: tuple[str, ...]


def timeline(index: IndexReader, patient_id: str, issuer: str) -> Timeline:
    """Return the timeline of a patient: a Patient ID (0010,0020) within its issuer (0010,0021).

    Raises ``NotFoundError`` if there is no study of it.
    """
    query = Query(Level.STUDY, (AnyOf(PATIENT_ID, (patient_id,)), AnyOf(ISSUER, (issuer,))), MOST_STUDIES)
    hits = index.query(query)
    if not hits:
        of = f" of {issuer}" if issuer else ""
        raise NotFoundError(f"the archive has no study of a patient with the ID {patient_id or '(none)'}{of}")
    studies = [Study.of(hit) for hit in hits]
    total = len(studies) if len(studies) < MOST_STUDIES else index.count(query)
    by_year: dict[str, list[Study]] = {}
    for study in studies:
        by_year.setdefault(study.date[:4] or UNDATED, []).append(study)
    modalities = sorted({modality for study in studies for modality in study.modalities})
    table = tuple(
        (modality, tuple(sum(modality in study.modalities for study in found) for found in by_year.values()))
        for modality in modalities
    )
    years = tuple((year, tuple(found)) for year, found in by_year.items())
    names = tuple(dict.fromkeys(study.patient.name for study in studies))
    return Timeline(studies[0].patient, years, table, total, names)
