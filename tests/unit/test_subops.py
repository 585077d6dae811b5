"""Sub-operations of C-MOVE and C-GET over a socket pair: what is planned, and what happens when a part fails."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from vna.config import DimseSettings
from vna.dicom.dataset import EXPLICIT_LITTLE, IMPLICIT_LITTLE, decode_identifier, encode_answer
from vna.domain.errors import ConfigurationError, UnavailableError
from vna.domain.identity import InstanceUids
from vna.domain.query import Selector
from vna.domain.records import Location
from vna.gateways.dimse.operation import Operation, Request
from vna.gateways.dimse.outgoing import choose, data_set_start, open_all
from vna.gateways.dimse.receivers import BrokenMessageError, plan
from vna.gateways.dimse.retrieve import RetrieveService, accept_extended
from vna.gateways.dimse.statuses import is_store_warning
from vna.index.sqlite import SqliteIndex
from vna.peers import commands
from vna.peers.channel import Channel
from vna.store.folder import FolderStore

STUDY_GET, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
MPEG = "1.2.840.10008.1.2.4.100"
META = (
    bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x02\x001\0" + b"\x02\x00\x02\x01OB\0\0\x04\x00\x00\x00\x01\x02\x03\x04"
)
BODY = b"\x08\x00\x16\x00UI\x02\x001\0"


def location(number: int, sop_class: str = CT, syntax: str = EXPLICIT_LITTLE, size: int = 100) -> Location:
    return Location(
        InstanceUids("1.2", "1.2.3", f"1.2.3.{number}"), sop_class, syntax, "0" * 64, size, f"instances/{number}.dcm"
    )


class Locating(SqliteIndex):
    """An index that locates what a test says."""

    found: tuple[Location, ...] = ()
    error: Exception | None = None

    def locate(self, selector: Selector) -> Iterator[Location]:  # noqa: ARG002 - what is asked does not matter
        yield from self.found
        if self.error is not None:
            raise self.error


class Failing(io.BytesIO):
    """A file of which the second half cannot be read."""

    def readinto(self, buffer: Any) -> int:
        if self.tell() > len(self.getvalue()) // 2:
            raise UnavailableError("the store went away")
        return super().readinto(memoryview(buffer)[:1000])


class HalfStore(FolderStore):
    """A store that breaks in the middle of large objects."""

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        with super().open(key) as file:
            yield Failing(file.read())


class Exchange:
    """A retrieve operation being served, and its requestor's end of the association."""

    def __init__(
        self, index: Locating, store: FolderStore, sop_class: str, field: int, settings: DimseSettings
    ) -> None:
        ours, self.theirs = socket.socketpair()
        for end in (ours, self.theirs):
            end.settimeout(10)
        self.channel = Channel(self.theirs, 16384, 16384)
        keys = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "0020000D": {"vr": "UI", "Value": ["1.2"]}}
        raw = encode_answer(keys, IMPLICIT_LITTLE)
        request = Request(field, 1, sop_class, IMPLICIT_LITTLE, 7, 2, raw, "DEST", "ME")
        service = RetrieveService(index, store, settings)
        self.error: BaseException | None = None

        def serve() -> None:
            operation = Operation(Channel(ours, 16384, 16384), request)
            try:
                if field == commands.C_MOVE_RQ:
                    service.move(operation)
                else:
                    service.get(operation, {(CT, EXPLICIT_LITTLE): 3})
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error
            finally:
                ours.close()

        self.thread = threading.Thread(target=serve)
        self.thread.start()

    def last(
        self, answer: Callable[[commands.Command], int] = lambda _request: 0
    ) -> tuple[commands.Command, list[str], list[str]]:
        """Answer C-STORE requests until the last response; return it, what was stored and what is listed as failed."""
        stored: list[str] = []
        while True:
            message = self.channel.receive()
            command = message.command
            if command.field == commands.C_STORE_RQ:
                stored.append(command.text(commands.AFFECTED_SOP_INSTANCE))
                assert command.number(commands.PRIORITY) == 2
                elements = [
                    (commands.COMMAND_FIELD, commands.C_STORE_RQ | commands.RESPONSE),
                    (commands.RESPONDED_TO, command.number(commands.MESSAGE_ID)),
                    (commands.DATA_SET_TYPE, commands.NO_DATA_SET),
                    (commands.STATUS, answer(command)),
                ]
                self.channel.send(message.context_id, commands.encode(elements))
            elif command.number(commands.STATUS) != 0xFF00:
                failed = decode_identifier(message.data, IMPLICIT_LITTLE).get("00080058") if message.data else None
                return command, stored, failed.text.split("\\") if failed else []

    def close(self) -> None:
        self.theirs.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def index(tmp_path: Path) -> Locating:
    return Locating(tmp_path / "index")


@contextmanager
def getting(index: Locating, store: FolderStore) -> Iterator[Exchange]:
    exchange = Exchange(index, store, STUDY_GET, commands.C_GET_RQ, DimseSettings())
    try:
        yield exchange
    finally:
        exchange.close()


def counts(command: commands.Command) -> tuple[int, int, int]:
    return tuple(command.number(one) for one in (commands.COMPLETED, commands.FAILED, commands.WARNING))  # type: ignore[return-value]


def fill(store: FolderStore, *numbers: int, body: bytes = BODY) -> None:
    for number in numbers:
        store.put(f"instances/{number}.dcm", META + body)


def test_bytes_that_are_gone_fail_and_the_rest_goes(tmp_path: Path, index: Locating) -> None:
    store = FolderStore(tmp_path / "objects")
    fill(store, 1, 3)
    index.found = (location(1), location(2), location(3), location(4, size=8 << 20))
    with getting(index, store) as exchange:
        command, stored, failed = exchange.last()
    assert command.number(commands.STATUS) == 0xB000
    assert counts(command) == (2, 2, 0)
    assert stored == ["1.2.3.1", "1.2.3.3"]
    assert failed == ["1.2.3.2", "1.2.3.4"]
    assert command.text(commands.ERROR_COMMENT)


def test_a_store_that_breaks_within_a_data_set_ends_the_association(tmp_path: Path, index: Locating) -> None:
    store = HalfStore(tmp_path / "objects")
    fill(store, 1, body=bytes(5 << 20))
    index.found = (location(1, size=5 << 20),)
    exchange = Exchange(index, store, STUDY_GET, commands.C_GET_RQ, DimseSettings())
    data = bytearray()
    while piece := exchange.theirs.recv(1 << 16):
        data += piece
    exchange.close()
    assert isinstance(exchange.error, BrokenMessageError)
    assert 0 < len(data) < 5 << 20


@pytest.mark.parametrize("sop_class", [STUDY_GET, STUDY_MOVE])
def test_an_index_that_is_away_cannot_count(tmp_path: Path, index: Locating, sop_class: str) -> None:
    index.error = UnavailableError("10.0.0.1 refuses")
    field = commands.C_GET_RQ if sop_class == STUDY_GET else commands.C_MOVE_RQ
    settings = DimseSettings(peers={"DEST": {"host": "127.0.0.1", "port": 1}})
    exchange = Exchange(index, FolderStore(tmp_path / "objects"), sop_class, field, settings)
    command, _, _ = exchange.last()
    exchange.close()
    assert command.number(commands.STATUS) == 0xA701
    assert "10.0.0.1" not in command.text(commands.ERROR_COMMENT)


def test_a_list_of_failed_instances_fits_its_element(tmp_path: Path, index: Locating) -> None:
    index.found = tuple(location(10**40 + number) for number in range(3000))
    with getting(index, FolderStore(tmp_path / "objects")) as exchange:
        command, _, failed = exchange.last()
    assert command.number(commands.STATUS) == 0xA702
    assert counts(command) == (0, 3000, 0)
    assert 1000 < len(failed) < 3000


def test_warnings_of_the_receiver(tmp_path: Path, index: Locating) -> None:
    store = FolderStore(tmp_path / "objects")
    fill(store, 1, 2, 3)
    index.found = (location(1), location(2), location(3))
    with getting(index, store) as exchange:
        command, _, failed = exchange.last(
            lambda one: 0xB000 if one.text(commands.AFFECTED_SOP_INSTANCE) == "1.2.3.2" else 0
        )
    assert (command.number(commands.STATUS), counts(command), failed) == (0xB000, (2, 0, 1), [])


@pytest.mark.parametrize(
    ("status", "warning"),
    [(0xB000, True), (0xB007, True), (0x0107, True), (0xA700, False), (0x0110, False), (0xFF00, False)],
)
def test_which_answers_are_warnings(status: int, warning: bool) -> None:
    assert is_store_warning(status) == warning


def test_proposals_are_the_stored_syntax_and_the_uncompressed_ones() -> None:
    ((proposals, part),) = plan(
        [location(1), location(2, syntax=JPEG), location(3, sop_class="1.9", syntax=IMPLICIT_LITTLE)]
    )
    assert proposals == [
        (CT, (EXPLICIT_LITTLE,)),
        (CT, (JPEG,)),
        (CT, (IMPLICIT_LITTLE,)),
        ("1.9", (IMPLICIT_LITTLE,)),
        ("1.9", (EXPLICIT_LITTLE,)),
    ]
    assert len(part) == 3


def test_more_classes_than_an_association_holds_are_divided() -> None:
    locations = [location(number, sop_class=f"1.9.{number % 150}") for number in range(400)]
    groups = plan(locations)
    assert len(groups) == 3
    assert all(len(proposals) <= 128 for proposals, _ in groups)
    assert sorted(one.uids.sop for _, part in groups for one in part) == sorted(one.uids.sop for one in locations)
    for proposals, part in groups:
        assert {one.sop_class for one in part} == {sop_class for sop_class, _ in proposals}


def test_plan_of_nothing() -> None:
    assert plan([]) == []


def test_what_an_instance_is_sent_in() -> None:
    accepted = {(CT, IMPLICIT_LITTLE), (CT, EXPLICIT_LITTLE), ("1.9", JPEG)}
    assert choose(location(1), accepted) == EXPLICIT_LITTLE
    assert choose(location(1, syntax=IMPLICIT_LITTLE), accepted) == IMPLICIT_LITTLE
    assert choose(location(1, syntax=JPEG), accepted) == EXPLICIT_LITTLE
    assert choose(location(1, syntax=JPEG), {(CT, IMPLICIT_LITTLE)}) == IMPLICIT_LITTLE
    assert choose(location(1, sop_class="1.9", syntax=JPEG), accepted) == JPEG
    assert choose(location(1, sop_class="1.9"), accepted) is None
    assert choose(location(1, syntax=MPEG), accepted) is None


@pytest.mark.parametrize(
    ("data", "start"),
    [(META + BODY, len(META)), (META, len(META)), (BODY, 0), (b"", 0), (bytes(128) + b"DICM", 132)],
)
def test_where_the_data_set_begins(data: bytes, start: int) -> None:
    assert data_set_start(io.BytesIO(data)) == start


def test_files_are_opened_in_order_small_ones_ahead(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects")
    fill(store, *range(1, 90))
    sizes = [8 << 20 if number % 30 == 0 else 100 for number in range(1, 90)]
    locations = [location(number, size=size) for number, size in enumerate(sizes, 1)]
    seen = []
    for one, source in open_all(store, locations):
        assert not isinstance(source, Exception)
        assert source.read() == META + BODY
        seen.append(one)
    assert seen == locations


def test_a_store_that_refuses_gives_its_error_with_each_instance(tmp_path: Path) -> None:
    class Refusing(FolderStore):
        def get_many(self, keys: Any) -> Iterator[tuple[str, bytes | None]]:
            yield keys[0], b"x"
            raise ConfigurationError("credentials refused")

    found = list(open_all(Refusing(tmp_path / "objects"), [location(1), location(2), location(3)]))
    assert [isinstance(source, ConfigurationError) for _, source in found] == [False, True, True]


def test_extended_negotiation_of_retrieval() -> None:
    assert [accept_extended(one) for one in (b"", b"\0", b"\1", b"\1\1")] == [b"", b"\0", b"\1", b"\1\0"]
