"""Large objects whose upload was broken off: another process goes on where it ended."""

from __future__ import annotations

import multiprocessing
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import xxhash

from tests.support.s3 import S3Service, service_names
from vna.config import StoreSettings
from vna.domain.errors import IntegrityError
from vna.domain.file_range import FileRange
from vna.ports.objects import Put
from vna.store.s3 import S3Store

MIB = 1 << 20
SIZE = 100 * MIB
PART = 16 * MIB
SPAWN = multiprocessing.get_context("spawn")


class Meter:
    """A proxy that counts the bytes that go to a service, and lets them pass no faster than told."""

    def __init__(self, service: S3Service) -> None:
        target = urlsplit(service.endpoint)
        self._target = (str(target.hostname), target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.pause = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(256 << 10):
                if counted:
                    self.sent += len(data)
                    time.sleep(self.pause)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(params=service_names())
def meter(request: pytest.FixtureRequest) -> Iterator[tuple[Meter, StoreSettings]]:
    service: S3Service = request.getfixturevalue("minio" if request.param == "external" else request.param)
    with closing(Meter(service)) as running:
        settings = service.settings(endpoint=running.url, multipart_bytes=5 * MIB)
        with closing(S3Store(settings)) as store:
            store.check()
        yield running, settings


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> FileRange:
    path = tmp_path_factory.mktemp("large") / "instance"
    piece = random.Random(5).randbytes(MIB)
    with path.open("wb") as file:
        file.write(b"head")
        for number in range(SIZE // MIB):
            file.write(number.to_bytes(4, "big") + piece[4:])
    content = path.read_bytes()[4:]
    return FileRange(path, 4, SIZE, xxhash.xxh3_64_intdigest(content))


def put(settings: StoreSettings, source: FileRange, key: str) -> None:
    with closing(S3Store(settings)) as store:
        store.put(key, source)


def killed_in_the_middle(meter: Meter, settings: StoreSettings, source: FileRange) -> None:
    """Put an object by a process that is killed when some parts have been sent."""
    meter.pause = 0.004
    before = meter.sent
    process = SPAWN.Process(target=put, args=(settings, source, "large"))
    process.start()
    deadline = time.monotonic() + 120
    while meter.sent - before < 75 * MIB and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.is_alive(), "it was through before it was killed"
    process.kill()
    process.join(30)
    meter.pause = 0.0


def uploads(store: S3Store) -> list[str]:
    found = store._s3.client.list_multipart_uploads(Bucket=store._s3.bucket, Prefix="large").get("Uploads", [])
    return [upload["UploadId"] for upload in found]


def test_an_upload_of_a_killed_process_is_resumed(meter: tuple[Meter, StoreSettings], large: FileRange) -> None:
    proxy, settings = meter
    killed_in_the_middle(proxy, settings, large)
    with closing(S3Store(settings)) as store:
        assert store.head("large") is None
        assert len(uploads(store)) == 1
        before = proxy.sent
        assert store.put("large", large) is True
        sent = proxy.sent - before
        # At most four parts were under way.
        assert sent < SIZE - PART
        digest = xxhash.xxh3_64()
        for piece in store.stream("large"):
            digest.update(piece)
        assert digest.intdigest() == large.checksum
        assert uploads(store) == []


def test_what_a_killed_process_sent_of_other_bytes_is_not_taken(
    meter: tuple[Meter, StoreSettings], large: FileRange, tmp_path: Path
) -> None:
    proxy, settings = meter
    killed_in_the_middle(proxy, settings, large)
    content = bytearray(large.path.read_bytes()[4:])
    content[:10] = b"other head"
    changed = tmp_path / "changed"
    changed.write_bytes(content)
    with closing(S3Store(settings)) as store:
        source = FileRange(changed, 0, SIZE, xxhash.xxh3_64_intdigest(content))
        assert store.put("large", source) is True
        digest = xxhash.xxh3_64()
        for piece in store.stream("large"):
            digest.update(piece)
        assert digest.intdigest() == source.checksum


def test_an_upload_that_is_not_needed_any_more_is_aborted(meter: tuple[Meter, StoreSettings], large: FileRange) -> None:
    proxy, settings = meter
    killed_in_the_middle(proxy, settings, large)
    with closing(S3Store(settings)) as store:
        store.put("large", b"by another writer, in one request")
        assert len(uploads(store)) == 1
        assert store.put("large", large) is False
        assert uploads(store) == []


def test_an_upload_of_bytes_that_are_wrong_is_not_kept(meter: tuple[Meter, StoreSettings], large: FileRange) -> None:
    _, settings = meter
    wrong = FileRange(large.path, 3, SIZE, large.checksum)
    with closing(S3Store(settings)) as store:
        with pytest.raises(IntegrityError):
            store.put_batch([Put("large", wrong)])
        assert store.head("large") is None
        assert uploads(store) == []
