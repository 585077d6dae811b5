"""Measures an index adapter: upsert, and the usual searches.

``python -m tests.benchmarks.bench_index --adapter sqlite --studies 1000 --instances 100``
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.contracts import index_data as d
from tests.contracts.index_adapters import ADAPTERS, IndexSpec, open_index
from vna.domain.identity import InstanceUids, object_key
from vna.domain.origin import Origin
from vna.domain.query import AnyOf, DateTimeRange, Level, Query, Range, Selector, Wildcard, Words
from vna.domain.records import IndexedInstance
from vna.ports.index import Index

ELEMENTS = 100
VARYING = 15
"""Elements that differ between the instances of a series, beside its UID and number: positions, times, tube current."""
BATCH = 64
FAMILIES = ("adams", "baker", "clark", "davis", "evans", "frank", "ghosh", "hills", "irwin", "jones")
GIVEN = ("anna", "berta", "carla", "dora", "emma", "fred", "gert", "hans", "ines", "jane")
MODALITIES = ("CT", "MR", "CR", "US")


def instance(study: int, number: int) -> IndexedInstance:
    """Make an instance of about a hundred elements and 8 KB of JSON, as a CT has."""
    study_uid = f"1.2.826.0.1.3680043.8.498.{study:010d}"
    uids = InstanceUids(study_uid, f"{study_uid}.1", f"{study_uid}.1.{number}")
    digest = hashlib.sha256(uids.sop.encode()).hexdigest()
    modality = MODALITIES[study % len(MODALITIES)]
    name = f"{FAMILIES[study % 10]}{study % 97}^{GIVEN[study // 10 % 10]}"
    terms: dict[str, tuple[str, ...]] = {
        d.PATIENT_NAME: (name,),
        d.PATIENT_ID: (f"P{study // 2:07d}",),
        d.BIRTH_DATE: (f"19{study % 90 + 10:02d}0101",),
        d.STUDY_UID: (uids.study,),
        d.STUDY_DATE: (f"20{study % 24:02d}{study % 12 + 1:02d}{study % 28 + 1:02d}",),
        d.STUDY_TIME: (f"{study % 24:02d}{study % 60:02d}00.000000",),
        d.ACCESSION: (f"A{study:08d}",),
        d.STUDY_DESCRIPTION: ("thorax with contrast",),
        d.SERIES_UID: (uids.series,),
        d.SERIES_NUMBER: ("1",),
        d.MODALITY: (modality,),
        d.SOP_UID: (uids.sop,),
        d.SOP_CLASS_UID: (d.CT,),
        d.INSTANCE_NUMBER: (str(number),),
    }
    attributes: dict[str, Any] = {path: {"vr": "LO", "Value": list(texts)} for path, texts in terms.items()}
    for element in range(ELEMENTS - len(terms)):
        tag = f"0018{0x9000 + element:04X}"
        owner = f"instance {number}" if element < VARYING else f"study {study}"
        terms[tag] = (f"value {element} of {owner}",)
        attributes[tag] = {"vr": "LO", "Value": [f"Value {element} of {owner}, as the modality wrote it"]}
    return IndexedInstance(
        uids=uids,
        sop_class=d.CT,
        transfer_syntax=d.EXPLICIT,
        digest=digest,
        size=526_000,
        received_us=d.NOON + study * 1000 + number,
        origin=Origin("dimse", "MODALITY", "VNA", "127.0.0.1"),
        key=object_key(uids, digest),
        attributes=attributes,
        terms=terms,
        words=(*name.split("^"), "thorax", "contrast", f"accession{study}"),
    )


@contextlib.contextmanager
def opened(adapter: str, url: str) -> Iterator[Index]:
    """Open an empty index."""
    folder = Path(tempfile.mkdtemp(prefix="bench-index-", dir="."))
    if adapter == "elasticsearch":
        spec = IndexSpec(adapter, url, f"bench{time.time_ns()}")
    else:
        spec = IndexSpec(adapter, str(folder / "index.sqlite"))
    index = open_index(spec)
    try:
        yield index
        files = list(folder.iterdir())
        if files:
            print(f"{'size on disk':32} {sum(file.stat().st_size for file in files) / 2**20:10.0f} MiB")
    finally:
        index.close()
        shutil.rmtree(folder)


def fill(index: Index, studies: int, instances: int) -> None:
    """Upsert everything, and print microseconds an instance."""
    took: list[float] = []
    processor: list[float] = []
    waiting: list[IndexedInstance] = []

    def send() -> None:
        start, busy = time.perf_counter(), time.thread_time()
        index.upsert(waiting)
        processor.append((time.thread_time() - busy) / len(waiting) * 1e6)
        took.append((time.perf_counter() - start) / len(waiting) * 1e6)
        waiting.clear()

    for study in range(studies):
        for number in range(1, instances + 1):
            waiting.append(instance(study, number))
            if len(waiting) == BATCH:
                send()
    if waiting:
        send()
    quarter = max(1, len(took) // 4)
    print(f"{'upsert, mean':32} {statistics.mean(took):10.0f} us an instance")
    print(f"{'upsert, median':32} {statistics.median(took):10.0f} us an instance")
    print(f"{'upsert, processor, mean':32} {statistics.mean(processor):10.0f} us an instance")
    print(f"{'upsert, last quarter, mean':32} {statistics.mean(took[-quarter:]):10.0f} us an instance")
    again = [instance(0, number + 1) for number in range(min(BATCH, instances))]
    start = time.perf_counter()
    index.upsert(again)
    print(f"{'upsert of duplicates':32} {(time.perf_counter() - start) / len(again) * 1e6:10.0f} us an instance")


def timed(name: str, call: Callable[[], int], repeat: int) -> None:
    """Print the median of a call in milliseconds."""
    took, processor = [], []
    found = 0
    for _ in range(repeat):
        start, busy = time.perf_counter(), time.thread_time()
        found = call()
        processor.append((time.thread_time() - busy) * 1000)
        took.append((time.perf_counter() - start) * 1000)
    print(
        f"{name:32} {statistics.median(took):10.2f} ms   processor {statistics.median(processor):8.2f} ms"
        f"   {found} found"
    )


def search(index: Index, studies: int, repeat: int) -> None:
    """Run the usual searches, a page of 100 each."""
    index.refresh()
    study, half = Level.STUDY, studies // 2
    uid = f"1.2.826.0.1.3680043.8.498.{half:010d}"
    queries = {
        "studies, all": Query(study, limit=100),
        "studies, deep offset": Query(study, limit=100, offset=studies - 100),
        "studies, wide date range": Query(study, (Range(d.STUDY_DATE, "20000101", "20231231"),), limit=100),
        "studies, narrow date range": Query(study, (Range(d.STUDY_DATE, "20110101", "20110630"),), limit=100),
        "studies, date and time": Query(
            study, (DateTimeRange(d.STUDY_DATE, d.STUDY_TIME, "20050101000000.000000", None),), limit=100
        ),
        "studies, name prefix": Query(study, (Wildcard(d.PATIENT_NAME, "adams*"),), limit=100),
        "studies, name infix": Query(study, (Wildcard(d.PATIENT_NAME, "*an*"),), limit=100),
        "studies, patient ID": Query(study, (AnyOf(d.PATIENT_ID, (f"P{half // 2:07d}",)),), limit=100),
        "studies, modality": Query(study, (AnyOf(d.MODALITIES_IN_STUDY, ("CT",)),), limit=100),
        "studies, modality and dates": Query(
            study,
            (AnyOf(d.MODALITIES_IN_STUDY, ("CT",)), Range(d.STUDY_DATE, "20050101", "20101231")),
            limit=100,
        ),
        "studies, words": Query(study, (Words(("ada", "thor")),), limit=100),
        "studies, no accession": Query(study, (AnyOf(d.ACCESSION, ("",)),), limit=100),
        "patients, all": Query(Level.PATIENT, limit=100),
        "patients, name prefix": Query(Level.PATIENT, (Wildcard(d.PATIENT_NAME, "adams*"),), limit=100),
        "series of a study": Query(Level.SERIES, (AnyOf(d.STUDY_UID, (uid,)),), limit=100),
        "series, modality": Query(Level.SERIES, (AnyOf(d.MODALITY, ("MR",)),), limit=100),
        "instances of a study": Query(Level.INSTANCE, (AnyOf(d.STUDY_UID, (uid,)),), limit=100),
        "instances of a patient": Query(Level.INSTANCE, (AnyOf(d.PATIENT_ID, (f"P{half // 2:07d}",)),), limit=100),
        "instances, any attribute": Query(
            Level.INSTANCE,
            (AnyOf(d.STUDY_UID, (uid,)), AnyOf("00189000", ("value 0 of instance 7",))),
            limit=100,
        ),
        "instances, all": Query(Level.INSTANCE, limit=100),
    }
    for name, query in queries.items():
        timed(name, lambda query=query: len(index.query(query)), repeat)  # type: ignore[misc]
    timed("count of studies by date", lambda: index.count(queries["studies, wide date range"]), repeat)
    timed("facets of all studies", lambda: len(index.facets(Query(study), [d.MODALITIES_IN_STUDY])), repeat)
    timed("locate a study", lambda: len(list(index.locate(Selector(studies=(uid,))))), repeat)
    timed("counts", lambda: index.counts().instances, repeat)


def main() -> None:
    """Run the measurement that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", choices=ADAPTERS, action="append", help="may be given several times")
    parser.add_argument("--url", default="http://127.0.0.1:9200", help="of Elasticsearch")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=100, help="in each study")
    parser.add_argument("--repeat", type=int, default=20)
    given = parser.parse_args()
    for adapter in given.adapter or ["sqlite"]:
        print(f"{adapter}: {given.studies} studies of {given.instances} instances")
        with opened(adapter, given.url) as index:
            fill(index, given.studies, given.instances)
            search(index, given.studies, given.repeat)


if __name__ == "__main__":
    main()
