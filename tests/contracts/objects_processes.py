"""What other processes do in the contract suite of the objects port."""

from __future__ import annotations

from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from tests.contracts.objects_adapters import ObjectsSpec, open_objects
from tests.support.memory import own_peak
from vna.ports.objects import Put

MIB = 1 << 20
# Differs in every position from another writer's, so that a mixture is seen.
SIZE = 300_000


def content(writer: int) -> bytes:
    """Return a writer's own bytes."""
    return bytes([writer]) * SIZE


def put_one(spec: ObjectsSpec, key: str, writer: int, start: Barrier, answers: Queue[tuple[int, bool]]) -> None:
    """Put an object when every process is ready; say whether it was stored."""
    with closing(open_objects(spec)) as store:
        store.check()
        start.wait(60)
        answers.put((writer, store.put(key, content(writer))))


def put_for_ever(spec: ObjectsSpec, folder: Path, begun: Event) -> None:
    """Put batches of bytes and files, until killed."""
    with closing(open_objects(spec)) as store:
        store.check()
        number = 0
        while True:
            puts = []
            for item in range(number, number + 20):
                if item % 2:
                    puts.append(Put(f"k/{item:06d}", content(item % 256)))
                else:
                    source = folder / str(item)
                    source.write_bytes(content(item % 256))
                    puts.append(Put(f"k/{item:06d}", source))
            store.put_batch(puts)
            number += 20
            begun.set()


def pass_large(spec: ObjectsSpec, source: Path, answers: Queue[tuple[int, int, int]]) -> None:
    """Put a large file and stream it back; say its length, and by how many bytes memory grew for each."""
    with closing(open_objects(spec)) as store:
        # What a first use costs once does not count.
        store.check()
        store.put("small", b"x" * MIB)
        b"".join(store.stream("small"))
        before = own_peak()
        store.put("large", source)
        put = own_peak()
        length = sum(len(piece) for piece in store.stream("large"))
        answers.put((length, put - before, own_peak() - put))
