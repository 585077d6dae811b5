"""Instances a second from the spool to stored and searchable, in one process: the worker's work without Celery.

Run ``python -m tests.benchmarks.bench_commit [--profile] [--folder FOLDER]``.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

from tests.benchmarks.data import write_series
from tests.support.instances import ORIGIN, make_settings
from vna.bootstrap import Archive

BATCH = 64


def run(folder: Path, rows: int, count: int, *, profile: bool) -> float:
    files = write_series(folder / "made", count, rows, series=4, studies=2)
    archive = Archive(make_settings(folder / "data"))
    names = []
    for path in files:
        with archive.spool.begin(ORIGIN) as file:
            file.write(path.read_bytes())
            names.append(file.seal().name)
    committer = archive.committer()
    committer.commit(names[:BATCH])
    rest = names[BATCH:]
    profiler = cProfile.Profile()
    begin, cpu = time.perf_counter(), time.process_time()
    if profile:
        profiler.enable()
    for start in range(0, len(rest), BATCH):
        committer.commit(rest[start : start + BATCH])
    profiler.disable()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    assert archive.index.counts().instances == count
    assert not list(archive.spool.entries())
    committer.close()
    archive.close()
    print(
        f"{rows}x{rows}: {len(rest) / seconds:.0f} instances/s at {cpu / seconds:.0%} of a core; "
        f"{1000 * cpu / len(rest):.2f} ms of processor time each: {len(rest) / cpu:.0f} instances/s of a whole core"
    )
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return len(rest) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    for rows, count in ((512, 640), (64, 1088)):
        folder = Path(tempfile.mkdtemp(prefix="bench-commit", dir=options.folder))
        try:
            run(folder, rows, count, profile=options.profile)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
