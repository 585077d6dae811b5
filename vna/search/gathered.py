"""What is gathered over a study or a series, for results of a search below it (PS3.18 10.6.3.3.2, 10.6.3.3.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from vna.domain.query import AnyOf, Hit, Level, Query
from vna.domain.records import Attributes
from vna.ports.index import IndexReader

_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"
_BATCH = 1000

OF_STUDY = frozenset({"00080061", "00080062", "00201206", "00201208"})
"""ModalitiesInStudy, SOPClassesInStudy, numbers of related series and instances: the index answers them for studies."""
OF_SERIES = frozenset({"00201209"})
"""NumberOfSeriesRelatedInstances: the index answers it for series."""

_Key = tuple[str, ...]


def with_gathered(index: IndexReader, level: Level, hits: Sequence[Hit], wanted: Collection[str]) -> list[Hit]:
    """Return results with what of the wanted attributes is gathered over the study and the series of each.

    Parameters
    ----------
    index
        Where they were found.
    level
        What they are.
    hits
        The results.
    wanted
        Tags of attributes that the answer is to have. If none of them are gathered above the level, nothing is asked.
    """
    found = list(hits)
    if level in {Level.SERIES, Level.INSTANCE} and (tags := OF_STUDY.intersection(wanted)):
        found = list(_filled(index, Level.STUDY, found, tags))
    if level is Level.INSTANCE and (tags := OF_SERIES.intersection(wanted)):
        found = list(_filled(index, Level.SERIES, found, tags))
    return found


def _filled(index: IndexReader, above: Level, hits: Sequence[Hit], tags: Collection[str]) -> Iterator[Hit]:
    names = (_STUDY_UID,) if above is Level.STUDY else (_STUDY_UID, _SERIES_UID)
    known: dict[_Key, Attributes] = {}
    keys = list(dict.fromkeys(_key(hit, names) for hit in hits))
    for start in range(0, len(keys), _BATCH):
        columns = zip(*keys[start : start + _BATCH], strict=True)
        criteria = tuple(AnyOf(name, tuple(dict.fromkeys(uids))) for name, uids in zip(names, columns, strict=True))
        for hit in index.query(Query(above, criteria)):
            known[_key(hit, names)] = {tag: value for tag, value in hit.attributes.items() if tag in tags}
    for hit in hits:
        more: Mapping[str, object] = known.get(_key(hit, names), {})
        yield replace(hit, attributes={**hit.attributes, **more})


def _key(hit: Hit, names: Sequence[str]) -> _Key:
    return tuple(str((hit.attributes.get(name, {}).get("Value") or [""])[0]) for name in names)
