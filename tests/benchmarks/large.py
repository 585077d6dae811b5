"""A large multi-frame in by C-STORE and STOW-RS, out by WADO-RS, C-GET and C-MOVE: seconds, and memory of each process.

``python -m tests.benchmarks.large [--gib 2] [--kind embedded|scaled] [--encapsulated]`` ends with status 1 if
a process of the archive takes more than 400 MiB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support import s3
from tests.support.archive import RunningArchive, running_archive, scaled_environment
from tests.support.elasticsearch import start_elasticsearch
from tests.support.large import MIB, Large
from tests.support.large_round import MOVER, Round
from tests.support.memory import PeakMemory, process_of
from tests.support.ports import free_port
from tests.support.valkey import Valkey

LIMIT_MIB = 400


def with_mover(port: int) -> dict[str, str]:
    """Return the settings that make a storescp on a port a destination."""
    return {"VNA_DIMSE__PEERS": json.dumps({MOVER: {"host": "127.0.0.1", "port": port}})}


@contextmanager
def _archive(kind: str, folder: Path, mover: int) -> Iterator[RunningArchive]:
    with ExitStack() as stack:
        environment = with_mover(mover)
        if kind == "scaled":
            service = stack.enter_context(s3.running("minio"))
            index = stack.enter_context(start_elasticsearch("512m")).url
            broker = Valkey()
            stack.callback(broker.close)
            environment |= scaled_environment(service, index, broker.url)
        yield stack.enter_context(running_archive(folder / "data", **environment))


def _table(memory: PeakMemory) -> Iterator[str]:
    yield f"{'process':<16}{'idle MiB':>10}{'peak MiB':>10}"
    for name, peak in sorted(memory.peak.items()):
        yield f"{name:<16}{memory.idle[name] / MIB:>10.0f}{peak / MIB:>10.0f}"


def main() -> int:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=2.0, help="pixel data of an instance, GiB")
    parser.add_argument("--kind", choices=["embedded", "scaled"], default="embedded")
    parser.add_argument("--encapsulated", action="store_true", help="JPEG frames in place of native ones")
    arguments = parser.parse_args()
    size = int(arguments.gib * 1024) * MIB
    mover = free_port()
    with tempfile.TemporaryDirectory(prefix="vna-large-") as name:
        folder = Path(name)
        with _archive(arguments.kind, folder, mover) as archive, PeakMemory(process_of(archive)) as memory:
            steps = Round(archive, mover, folder, lambda line: print(line, flush=True))
            first, second = (Large(number, size, encapsulated=arguments.encapsulated) for number in (1, 2))
            steps.run(first, second)
    print(f"\n{arguments.kind}, {first.frames} frames, {size / (1 << 30):.2f} GiB each")
    print("\n".join(_table(memory)))
    over = [name for name, peak in memory.peak.items() if peak > LIMIT_MIB * MIB]
    if over:
        print(f"over {LIMIT_MIB} MiB: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
