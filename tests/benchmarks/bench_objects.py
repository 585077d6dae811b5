"""Puts and gets a second of each object store, for instances of 0.5 MB and documents of 10 kB.

"instances" are what a worker puts: ranges of a spool's segment with a metadata document each, and their processor time.

``python -m tests.benchmarks.bench_objects [--count N] [--batch N] [ADAPTER ...]``. The line "plain" is
the floor of this machine: files written one after the other with an fdatasync each, one fsync of their folder a batch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import xxhash

from tests.support.s3 import PACKAGES, running
from vna.domain.file_range import FileRange
from vna.ports.objects import ObjectStore, Put
from vna.store.folder import FolderStore
from vna.store.s3 import S3Store

DOCUMENT = 8_000
PAGE = 4096
SIZES = {"0.5 MB": 500_000, "10 kB": 10_000}
ADAPTERS = ("plain", "folder", *PACKAGES)


def rate(count: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def plain(folder: Path, data: bytes, count: int, batch: int) -> None:
    for begin in range(0, count, batch):
        for number in range(begin, min(begin + batch, count)):
            with (folder / str(number)).open("wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def put_all(store: ObjectStore, batches: Sequence[Sequence[Put]]) -> None:
    for batch in batches:
        assert all(store.put_batch(batch))


def sources(folder: Path, data: bytes, count: int) -> list[Path]:
    """Write the files that a spool would hold, durable."""
    folder.mkdir()
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
    return paths


def segment(path: Path, data: bytes, count: int) -> list[FileRange]:
    """Write the segment that a spool would hold, durable."""
    checksum = xxhash.xxh3_64_intdigest(data)
    with path.open("wb") as file:
        places = []
        for _ in range(count):
            places.append(file.tell())
            file.write(data.ljust(-(-len(data) // PAGE) * PAGE, b"\0"))
        file.flush()
        os.fdatasync(file.fileno())
    return [FileRange(path, place, len(data), checksum) for place in places]


def split(items: Sequence[Put], size: int) -> list[Sequence[Put]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]


def measure(store: ObjectStore, folder: Path, length: int, count: int, batch: int) -> dict[str, float]:
    data = os.urandom(length)
    name = str(length)
    paths = sources(folder / name, data, count)
    from_bytes = [Put(f"{name}/bytes/{number}", data) for number in range(count)]
    from_files = [Put(f"{name}/files/{number}", path) for number, path in enumerate(paths)]
    single = [[Put(f"{name}/single/{number}", data)] for number in range(min(count, 50))]
    ranges = segment(folder / f"{name}-segment", data, count)
    document = os.urandom(DOCUMENT)
    instances = [
        [Put(f"{name}/ranges/{number}.dcm", source) for number, source in enumerated]
        + [Put(f"{name}/ranges/{number}.json", document) for number, _ in enumerated]
        for enumerated in (list(enumerate(ranges))[begin : begin + batch] for begin in range(0, count, batch))
    ]
    begun = time.process_time()
    result = {"instances": rate(count, lambda: put_all(store, instances))}
    result["cpu ms"] = (time.process_time() - begun) * 1000 / count
    result |= {
        "bytes": rate(count, lambda: put_all(store, split(from_bytes, batch))),
        "files": rate(count, lambda: put_all(store, split(from_files, batch))),
        "one by one": rate(len(single), lambda: put_all(store, single)),
    }
    keys = [put.key for put in from_bytes]
    result["get_many"] = rate(count, lambda: [data for _, data in store.get_many(keys)])
    return result


def measure_plain(folder: Path, length: int, count: int, batch: int) -> dict[str, float]:
    folder.mkdir()
    data = os.urandom(length)
    return {"bytes": rate(count, lambda: plain(folder, data, count, batch))}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER", help=f"of {', '.join(ADAPTERS)}; default all")
    parser.add_argument("--count", type=int, default=300, help="objects of each size")
    parser.add_argument("--batch", type=int, default=64, help="objects of one put_batch")
    parser.add_argument("--folder", type=Path, help="where to work; default the temporary folder")
    options = parser.parse_args()
    columns = ("instances", "cpu ms", "bytes", "files", "one by one", "get_many")
    print(f"objects a second, batches of {options.batch}")
    print(f"{'adapter':<10} {'size':<8}" + "".join(f"{column:>12}" for column in columns))
    for adapter in options.adapters or ADAPTERS:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
            store: ObjectStore | None = None
            if adapter == "folder":
                store = FolderStore(folder / "objects")
            elif adapter in PACKAGES:
                store = S3Store(stack.enter_context(running(adapter)).settings())
            if store is not None:
                stack.callback(store.close)
                store.check()
            for label, length in SIZES.items():
                if store is None:
                    figures = measure_plain(folder / label, length, options.count, options.batch)
                else:
                    figures = measure(store, folder, length, options.count, options.batch)
                shown = (
                    f"{figures[column]:>12.{2 if column == 'cpu ms' else 0}f}" if column in figures else f"{'':>12}"
                    for column in columns
                )
                print(f"{adapter:<10} {label:<8}" + "".join(shown), flush=True)


if __name__ == "__main__":
    main()
