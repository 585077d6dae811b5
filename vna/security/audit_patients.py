"""Whose study it is: the trail names patients, and a retrieve knows studies alone."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from vna.domain.audit import StudyObject
from vna.domain.query import AnyOf, Level, Query
from vna.ports.index import IndexReader

_STUDY, _PATIENT = "0020000D", "00100020"
_SECONDS = 60.0
_MOST = 4096


class Patients:
    """Looks Patient IDs up in the index, and remembers them for a minute. Safe for many threads."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def fill(self, studies: tuple[StudyObject, ...]) -> tuple[StudyObject, ...]:
        """Return studies with their Patient IDs; without, where the index does not know or does not answer."""
        return tuple(study if study.patient_id else replace(study, patient_id=self._of(study.uid)) for study in studies)

    def known(self, study: str) -> bool:
        """Whether a study's patient can be told without asking the index."""
        held = self._known.get(study)
        return held is not None and held[0] > time.monotonic()

    def _of(self, study: str) -> str:
        now = time.monotonic()
        held = self._known.get(study)
        if held is not None and held[0] > now:
            return held[1]
        try:
            hits = self._index.query(Query(Level.STUDY, (AnyOf(_STUDY, (study,)),), limit=1))
        except Exception:  # noqa: BLE001 - what happened is told even if the index is away
            return ""
        values = hits[0].attributes.get(_PATIENT, {}).get("Value", []) if hits else []
        patient = str(values[0]) if values else ""
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[study] = (now + _SECONDS, patient)
        return patient
