"""Indices, mappings and names of the Elasticsearch adapter.

All terms of an entity stand in one keyword field, ``path TAB value``, so that no
attribute, private or not, ever adds a field to the mapping. A ``flattened``
field keeps the same terms inside, but refuses wild cards and ranges with one
open end, and indexes every value twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vna.config import IndexSettings
from vna.ports.index import LAYOUT

KINDS = ("instances", "series", "studies")
STATE = "state"
BUILT = "built"
"""What the ``_meta`` of each index says: whether it began with all that the object store held."""

# Lucene takes terms of up to 32766 bytes. What is longer and broken is kept, but not matched or sorted by.
_LONGEST = 8000
_TERMS: dict[str, Any] = {"type": "keyword"}
_KEYWORD: dict[str, Any] = {"type": "keyword", "ignore_above": _LONGEST}
_MATCHED: dict[str, Any] = {"type": "keyword", "ignore_above": _LONGEST, "doc_values": False}
_SORTED: dict[str, Any] = {"type": "keyword", "ignore_above": _LONGEST, "index": False}
_NUMBER: dict[str, Any] = {"type": "long", "index": False}
_KEPT: dict[str, Any] = {"type": "object", "enabled": False}
_ENTITY: dict[str, Any] = {
    "terms": _TERMS,
    "paths": _MATCHED,
    "words": _KEYWORD,
    "attributes": _KEPT,
}

# What is in no mapping here stays in _source only ("dynamic": false).
_PROPERTIES: Mapping[str, dict[str, Any]] = {
    "instances": _ENTITY
    | {
        "study_id": _KEYWORD,
        "series_id": _KEYWORD,
        "instance_id": _SORTED,
        "patient_id": _MATCHED,
        "study": _MATCHED,
        "series": _MATCHED,
        "sop": _MATCHED,
        "sop_class": _SORTED,
        "modality": _SORTED,
        "combinations": _SORTED,
        "number": _NUMBER,
        "received_us": _NUMBER,
        "size": _NUMBER,
        "removed": {"type": "boolean"},
    },
    "series": _ENTITY | {"study_id": _KEYWORD, "series_id": _KEYWORD, "number": _NUMBER},
    "studies": _ENTITY
    | {
        "study_id": _SORTED,
        "patient": _KEYWORD,
        "patient_key": _SORTED,
        "study_date": _SORTED,
        "study_time": _SORTED,
        "received_us": _NUMBER,
        "modalities": _KEYWORD,
        "sop_classes": _KEYWORD,
        "combinations": _MATCHED,
    },
    STATE: {"value": _KEPT},
}


@dataclass(frozen=True, slots=True)
class Names:
    """Aliases of the three indices of one generation: the live one, or the one being built."""

    instances: str
    series: str
    studies: str

    @classmethod
    def live(cls, prefix: str) -> Names:
        """Return the aliases that searches use."""
        return cls(*(f"{prefix}-{kind}" for kind in KINDS))

    @classmethod
    def building(cls, prefix: str) -> Names:
        """Return the aliases of a rebuild under way."""
        return cls(*(f"{prefix}-{kind}-building" for kind in KINDS))

    def of(self, kind: str) -> str:
        """Return the alias of a kind."""
        return {"instances": self.instances, "series": self.series, "studies": self.studies}[kind]


def index_name(prefix: str, kind: str, generation: int) -> str:
    """Return the name of the index behind an alias."""
    return f"{prefix}-{kind}-{generation:06d}"


def generation_of(index: str) -> int:
    """Return the generation that an index name tells."""
    return int(index.rsplit("-", 1)[1])


def definition(kind: str, settings: IndexSettings) -> dict[str, Any]:
    """Return settings and mappings of a new index."""
    index: dict[str, Any] = {
        "number_of_shards": 1 if kind == STATE else settings.shards,
        "number_of_replicas": settings.replicas,
        # Told, so that a shard nobody searches is refreshed as well.
        "refresh_interval": "1s",
    }
    if kind == "studies":
        # Stored in the order of results, so that the first page ends early.
        index["sort.field"] = ["study_date", "study_time", "study_id"]
        index["sort.order"] = ["desc", "desc", "asc"]
        index["sort.missing"] = ["_last", "_last", "_last"]
    # What is made anew is empty: nobody has said yet that the object store is, too.
    meta = {"layout": LAYOUT, BUILT: False}
    mappings = {"dynamic": False, "_meta": meta, "properties": _PROPERTIES[kind]}
    return {"settings": {"index": index}, "mappings": mappings}
