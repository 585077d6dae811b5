"""A large object, in and out by every way: memory does not grow with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.benchmarks.large import with_mover
from tests.support.archive import running_archive, scaled_environment
from tests.support.elasticsearch import drop_indices
from tests.support.instances import ORIGIN, make_settings, part10
from tests.support.large import MIB, Large
from tests.support.large_round import Round
from tests.support.memory import PeakMemory, process_of
from tests.support.ports import free_port
from tests.support.s3 import S3Service
from tests.support.worker import ROOT
from vna.bootstrap import Archive
from vna.domain.query import Level, Query
from vna.ingest.spool import Spool

GIB = 1 << 30
PROGRAM = """
    import json, sys
    from pathlib import Path
    from tests.support.instances import make_settings
    from tests.support.memory import own_peak
    from vna.bootstrap import Archive
    archive = Archive(make_settings(Path(sys.argv[1])))
    report = archive.committer().commit([entry.name for entry in archive.spool.entries()])
    print(json.dumps({"stored": report.stored, "bytes": report.bytes, "peak": own_peak()}))
"""


@pytest.mark.slow
def test_two_gibibytes_are_committed_in_little_memory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    spool = Spool(data / "spool")
    head = bytearray(part10(1, pixels=bytes(16)))
    # The pixel data are the last element: their length is made 2 GiB, and as many zeros follow.
    assert head[-24:-16] == b"OW\0\0\x10\0\0\0"
    head[-20:-16] = (2 * GIB).to_bytes(4, "little")

    with spool.begin(ORIGIN) as file:
        file.write(head[:-16])
        for _ in range(2 * GIB // MIB):
            file.write(bytes(MIB))
        file.seal()
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(data)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=280)
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"2 GiB committed, peak memory {result['peak'] / (1 << 20):.0f} MiB")
    assert result["stored"] == 1
    assert result["bytes"] > 2 * GIB
    assert result["peak"] < 400 << 20
    archive = Archive(make_settings(data))
    (hit,) = archive.index.query(Query(Level.INSTANCE))
    assert hit.location is not None
    assert hit.location.size == result["bytes"]
    archive.close()


def _grows_little(memory: PeakMemory) -> None:
    grown = {name: (peak - memory.idle[name]) / MIB for name, peak in memory.peak.items()}
    print({name: f"{memory.idle[name] / MIB:.0f} and {more:.0f} MiB more" for name, more in grown.items()})
    assert {"dimse", "http", "worker child"} <= set(grown)
    assert {name: more for name, more in grown.items() if more >= 100} == {}


@pytest.mark.slow
@pytest.mark.parametrize("encapsulated", [False, True])
def test_embedded_processes_do_not_grow_with_an_instance(tmp_path: Path, encapsulated: bool) -> None:
    mover = free_port()
    with running_archive(tmp_path / "data", **with_mover(mover)) as archive:
        with PeakMemory(process_of(archive)) as memory:
            first, second = (Large(number, 300 * MIB, encapsulated=encapsulated) for number in (1, 2))
            Round(archive, mover, tmp_path).run(first, second)
        assert archive.stop() == 0
    _grows_little(memory)
    shutil.rmtree(tmp_path / "data")


@pytest.mark.slow
def test_scaled_processes_do_not_grow_with_an_instance(
    tmp_path: Path, minio: S3Service, elasticsearch_url: str, valkey_url: str
) -> None:
    mover = free_port()
    environment = scaled_environment(minio, elasticsearch_url, valkey_url)
    with running_archive(tmp_path / "data", **environment, **with_mover(mover)) as archive:
        with PeakMemory(process_of(archive)) as memory:
            Round(archive, mover, tmp_path).run(Large(1, 300 * MIB), Large(2, 300 * MIB))
        assert archive.stop() == 0
    _grows_little(memory)
    drop_indices(elasticsearch_url, environment["VNA_INDEX__PREFIX"])
