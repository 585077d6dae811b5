"""The DIMSE gateway in a test's process or one of its own, and a requestor that sends exactly what a test wants."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.support.instances import copy_of
from tests.support.memory_queue import MemoryQueue
from tests.support.ports import answers, free_port, wait_until
from vna.config import DimseSettings, load_settings
from vna.gateways.dimse.connection import Services
from vna.gateways.dimse.server import Gateway, open_listener
from vna.ingest.hints import Hints
from vna.ingest.receive import Receiver
from vna.ingest.spool import Spool
from vna.security.audit import Recorder

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
APPLICATION = "1.2.840.10008.3.1.1.1"


def make_receiver(folder: Path, min_free_bytes: int = 0) -> Receiver:
    """Return a receiver whose broker is away: hints are dropped, as they may be."""
    queue = MemoryQueue()
    queue.down = True
    return Receiver(Spool(folder, min_free_bytes, log_bytes=16 << 20), Hints(queue, "test"))


class RunningGateway:
    """A gateway in this process, on a free port of the loopback address."""

    def __init__(
        self,
        folder: Path,
        receiver: Receiver | None,
        services: Services | None,
        audit: Recorder | None = None,
        **settings: Any,
    ) -> None:
        self.settings: DimseSettings = load_settings(dimse={"port": free_port(), **settings}).dimse
        self.receiver = receiver or make_receiver(folder)
        self.gateway = Gateway(self.settings, self.receiver, services, audit)
        self.gateway.start(open_listener(self.settings))

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def spool(self) -> Spool:
        return self.receiver.spool

    def files(self) -> list[Path]:
        """Return copies of what was received, in the order of arrival."""
        entries = sorted(self.spool.entries(), key=lambda entry: entry.received_us)
        return [copy_of(self.spool, entry) for entry in entries]

    def leftovers(self) -> list[str]:
        """Return what lies in the folder of instances being received."""
        return os.listdir(self.spool.partial)


@contextlib.contextmanager
def running_gateway(
    folder: Path,
    receiver: Receiver | None = None,
    services: Services | None = None,
    audit: Recorder | None = None,
    **settings: Any,
) -> Iterator[RunningGateway]:
    gateway = RunningGateway(folder, receiver, services, audit, **settings)
    try:
        yield gateway
    finally:
        gateway.gateway.stop(5)
        gateway.receiver.close()


class GatewayProcess:
    """``python -m vna.gateways.dimse``, its broker away, to be signalled and killed."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VNA_")},
            "VNA_DATA": str(data),
            "VNA_DIMSE__PORT": str(self.port),
            "VNA_SPOOL__MIN_FREE_BYTES": "0",
            "VNA_QUEUE__BROKER": f"redis+socket://{data}/no-broker.sock",
            "VNA_QUEUE__TIMEOUT_SECONDS": "0.5",
            **environment,
        }
        self.log = data / "gateway.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vna.gateways.dimse"], env=self._environment, stdout=log, stderr=log
            )
        try:
            wait_until(lambda: answers("127.0.0.1", self.port) or self.process.poll() is not None, 60)
        except TimeoutError as error:
            self.process.kill()
            raise AssertionError(self.log.read_text()) from error
        assert self.process.poll() is None, self.log.read_text()
        return self.process

    @property
    def spool(self) -> Spool:
        return Spool(self.data / "spool")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def context_item(number: int, abstract: str, *transfer: str) -> bytes:
    syntaxes = b"".join(item(0x40, uid.encode()) for uid in transfer)
    return item(0x20, bytes((number, 0, 0, 0)) + item(0x30, abstract.encode()) + syntaxes)


def associate_rq(
    *contexts: bytes,
    called: bytes = b"VNA",
    calling: bytes = b"TEST",
    user: bytes = b"",
    max_length: int = 16384,
    version: int = 1,
    application: str = APPLICATION,
    further: bytes = b"",
) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU."""
    information = item(0x51, struct.pack(">I", max_length)) + item(0x52, b"1.2.3.4") + user
    body = struct.pack(">Hxx", version) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, application.encode()) + b"".join(contexts) + item(0x50, information) + further
    return pdu(1, body)


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def pdv(number: int, control: int, value: bytes) -> bytes:
    return struct.pack(">IBB", len(value) + 2, number, control) + value


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def short(value: int) -> bytes:
    return struct.pack("<H", value)


def even(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def command(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return element(0, struct.pack("<I", len(body))) + body


def store_rq(uid: str = "1.2.3", *, message_id: int = 1, sop_class: str = CT, data: bool = True) -> bytes:
    return command(
        element(0x0002, even(sop_class)),
        element(0x0100, short(1)),
        element(0x0110, short(message_id)),
        element(0x0700, short(0)),
        element(0x0800, short(0 if data else 0x0101)),
        element(0x1000, even(uid)),
    )


def echo_rq(message_id: int = 1) -> bytes:
    return command(
        element(0x0002, even(VERIFICATION)),
        element(0x0100, short(0x30)),
        element(0x0110, short(message_id)),
        element(0x0800, short(0x0101)),
    )


DATA_SET = bytes.fromhex("08000500") + b"CS\x0a\x00ISO_IR 100"


def store(
    number: int, uid: str = "1.2.3", data: bytes = DATA_SET, *, message_id: int = 1, sop_class: str = CT
) -> bytes:
    """Return the PDUs of a C-STORE request whose data set is one fragment."""
    return pdu(4, pdv(number, 3, store_rq(uid, message_id=message_id, sop_class=sop_class))) + pdu(
        4, pdv(number, 2, data)
    )


RELEASE = pdu(5, bytes(4))


def elements(data: bytes) -> dict[int, bytes]:
    """Return the elements of a command set."""
    found, at = {}, 0
    while at < len(data):
        _group, number, length = struct.unpack_from("<HHI", data, at)
        found[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


class Requestor:
    """A connection to a gateway that sends bytes and reads PDUs."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(10)

    @classmethod
    def connect(cls, port: int) -> Requestor:
        return cls(socket.create_connection(("127.0.0.1", port), timeout=10))

    def associate(self, *contexts: bytes, **changes: Any) -> bytes:
        """Send a request and return the body of the A-ASSOCIATE-AC."""
        self.send(associate_rq(*contexts, **changes))
        kind, body = self.read()
        assert kind == 2, (kind, body)
        return body

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def read(self) -> tuple[int, bytes]:
        """Return the next PDU; type 0 is the end of the connection."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, head
        kind, length = struct.unpack(">BxI", head)
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            try:
                piece = self.connection.recv(count - len(out))
            except ConnectionResetError:
                break
            if not piece:
                break
            out += piece
        return out

    def response(self) -> dict[int, bytes]:
        """Return the elements of the next response, which is one PDU."""
        kind, body = self.read()
        assert kind == 4, (kind, body)
        assert body[5] == 3
        return elements(body[6:])

    def status(self) -> int:
        """Return the status of the next response."""
        return int.from_bytes(self.response()[0x0900], "little")

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def context_results(answer: bytes) -> dict[int, tuple[int, str]]:
    """Return result and transfer syntax of each context of an A-ASSOCIATE-AC."""
    return {value[0]: (value[2], value[8:].decode()) for kind, value in items(answer[68:]) if kind == 0x21}


def user_items(answer: bytes) -> dict[int, bytes]:
    """Return the user information sub-items of an A-ASSOCIATE-AC."""
    return dict(items(next(value for kind, value in items(answer[68:]) if kind == 0x50)))


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length
