"""A large object on its way from the spool to stored: memory does not grow with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, make_settings, part10
from tests.support.worker import ROOT
from vna.bootstrap import Archive
from vna.domain.query import Level, Query
from vna.ingest.spool import Spool

GIB = 1 << 30
PROGRAM = """
    import json, resource, sys
    from pathlib import Path
    from tests.support.instances import make_settings
    from vna.bootstrap import Archive
    archive = Archive(make_settings(Path(sys.argv[1])))
    report = archive.committer().commit([entry.name for entry in archive.spool.entries()])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"stored": report.stored, "bytes": report.bytes, "peak": peak}))
"""


@pytest.mark.slow
def test_two_gibibytes_are_committed_in_little_memory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    spool = Spool(data / "spool")
    head = bytearray(part10(1, pixels=bytes(16)))
    # The pixel data are the last element: their length is made 2 GiB, and a hole follows.
    assert head[-24:-16] == b"OW\0\0\x10\0\0\0"
    head[-20:-16] = (2 * GIB).to_bytes(4, "little")

    with spool.begin(ORIGIN) as file:
        file.write(head[:-16])
        os.ftruncate(file.fileno(), len(head) - 16 + 2 * GIB)
        file.length = len(head) - 16 + 2 * GIB
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
