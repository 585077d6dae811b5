"""Which patient a pseudonym is of: for searches by one, whose results show no more than that they belong together."""

from __future__ import annotations

import re
import threading

from vna.deidentify.pseudonyms import Pseudonyms
from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Level, Query
from vna.ports.index import IndexReader

MOST_PATIENTS = 50_000
"""Patients of one issuer whose pseudonyms are made to find one."""

_PSEUDONYM = re.compile(r"P-[A-Z2-7]{16}")
_PATIENT_ID, _ISSUER, _STUDY_UID = "00100020", "00100021", "0020000D"
_NOTHING = (AnyOf(_STUDY_UID, ()),)


class PatientLookup:
    """Finds the patient of a pseudonym, by making those of all there are. Safe against any number of threads.

    Parameters
    ----------
    pseudonyms
        Makes them.
    """

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._known: dict[str, tuple[Criterion, ...]] = {}
        self._lock = threading.Lock()

    def criteria(self, index: IndexReader, pseudonym: str) -> tuple[Criterion, ...] | None:
        """Return what finds the studies of a pseudonym, in the index or in one that shows less than it.

        ``None`` for a text that is no pseudonym; what finds nothing for one of nobody.

        Raises
        ------
        InvalidQueryError
            There are too many patients.
        """
        if not _PSEUDONYM.fullmatch(pseudonym):
            return None
        with self._lock:
            if pseudonym not in self._known:
                self._fill(index)
            return self._known.get(pseudonym, _NOTHING)

    def _fill(self, index: IndexReader) -> None:
        # One that was made is made again where it is asked for: memory is not for all patients there ever were.
        self._known.clear()
        for issuer in [*_values(index, _ISSUER), ""]:
            of_issuer = AnyOf(_ISSUER, (issuer,))
            for patient in _values(index, _PATIENT_ID, of_issuer):
                self._known[self._pseudonyms.of_patient(patient, issuer)] = (AnyOf(_PATIENT_ID, (patient,)), of_issuer)
        for study in _values(index, _STUDY_UID, AnyOf(_PATIENT_ID, ("",))):
            self._known[self._pseudonyms.of_study(study)] = (AnyOf(_STUDY_UID, (study,)),)


def _values(index: IndexReader, path: str, *criteria: Criterion) -> list[str]:
    found = index.facets(Query(Level.STUDY, criteria), [path], MOST_PATIENTS + 1)[path]
    if len(found) > MOST_PATIENTS:
        raise InvalidQueryError(
            f"there are more than {MOST_PATIENTS} patients: too many to search by a pseudonym", attribute=path
        )
    return [facet.value for facet in found]
