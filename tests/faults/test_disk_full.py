"""The spool's disk full: refused with the right error, nothing left behind, and on it goes when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, digest_of, part10, spool_one
from tests.support.worker import ROOT
from vna.domain.errors import OutOfResourcesError
from vna.ingest.spool import Spool


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("mounting a small disk needs root; run the fault tests as root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(small_disk: Path) -> None:
    spool = Spool(small_disk, allow_volatile=True)
    acknowledged = {}
    with pytest.raises(OutOfResourcesError, match="no space"):  # noqa: PT012  # it fills step by step
        for number in range(1000):
            data = part10(number, pixels=bytes(100_000))
            acknowledged[spool_one(spool, data).name] = digest_of(data)
    assert len(acknowledged) > 3
    assert list(spool.partial.iterdir()) == []
    found = {entry.name: digest_of(spool.source(entry).read()) for entry in spool.entries()}
    assert found == acknowledged
    spool.finish([next(spool.entries())])
    spool_one(spool, part10(1))
    spool.close()


def test_the_limit_of_free_space_refuses_before_the_disk_is_full(small_disk: Path) -> None:
    spool = Spool(small_disk, min_free_bytes=600_000, allow_volatile=True)
    spool_one(spool, bytes(300_000))
    spool_one(spool, bytes(300_000))
    with pytest.raises(OutOfResourcesError, match="below the limit"):
        spool.begin(ORIGIN)
    spool.close()


def test_a_limit_on_the_size_of_files_refuses(tmp_path: Path) -> None:
    program = """
        import resource, signal, sys
        from pathlib import Path
        from tests.support.instances import ORIGIN
        from vna.domain.errors import OutOfResourcesError
        from vna.ingest.spool import Spool
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        spool = Spool(Path(sys.argv[1]))
        try:
            with spool.begin(ORIGIN) as file:
                file.write(bytes(8_000))
                file.write(bytes(8_000))
                file.seal()
        except OutOfResourcesError:
            sys.exit(7)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 7
    spool = Spool(tmp_path)
    assert list(spool.entries()) == []
    assert list(spool.partial.iterdir()) == []
