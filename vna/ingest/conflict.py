"""Other bytes under the same UIDs: both are kept, and the fact is written down.

The fact names the content that is *not* found (of several, each has one). It
holds nothing that depends on when it was written or by whom, so it comes out
the same however often the work is done again, and in whatever order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import structlog

from vna.domain.identity import FACT_PREFIX, InstanceUids, object_key
from vna.domain.records import IndexedInstance
from vna.ports.index import Index, Outcome, Upserted
from vna.ports.objects import ObjectStore

log = structlog.get_logger(__name__)


def conflict_key(instance_id: str, digest: str) -> str:
    """Return the key of the fact about one content of an instance."""
    return f"{FACT_PREFIX}conflict/{instance_id}/{digest}.json"


def note_conflicts(
    objects: ObjectStore, index: Index, instances: Sequence[IndexedInstance], outcomes: Sequence[Upserted]
) -> int:
    """Write a fact for each content that lost against another under the same UIDs; return how many conflicts.

    Call it before the spool entries are dropped. When a crash came between the
    upsert and the fact, the repeated upsert says duplicate: so the versions of
    duplicates are looked at too.
    """
    count = 0
    for uids, digest in _losers(index, instances, outcomes):
        key = conflict_key(uids.instance_id, digest)
        if objects.head(key) is not None:
            continue
        document = {
            "kind": "conflict",
            "study": uids.study,
            "series": uids.series,
            "sop": uids.sop,
            "digest": digest,
            "key": object_key(uids, digest),
        }
        objects.replace(key, json.dumps(document, indent=1, sort_keys=True).encode())
        log.warning("other bytes under the same UIDs", sop=uids.sop, study=uids.study, not_current=digest)
        count += 1
    return count


def _losers(
    index: Index, instances: Sequence[IndexedInstance], outcomes: Sequence[Upserted]
) -> Iterator[tuple[InstanceUids, str]]:
    again = {}
    for instance, found in zip(instances, outcomes, strict=True):
        if found.outcome is Outcome.CONFLICT:
            yield instance.uids, found.other_digest if found.current else instance.digest
        elif found.outcome is Outcome.DUPLICATE:
            again[instance.uids.instance_id] = instance.uids
    if again:
        for instance_id, digests in index.versions(list(again)).items():
            for digest in digests[1:]:
                yield again[instance_id], digest
