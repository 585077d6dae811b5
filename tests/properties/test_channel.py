"""Whatever a peer sends, a channel gives a message or says that the association is over; memory stays bounded."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vna.dicom.dataset import IDENTIFIER_SYNTAXES, decode_identifier
from vna.peers import commands
from vna.peers.channel import MOST_DATA, Channel, ChannelClosedError, Message, ProtocolError
from vna.peers.commands import Command

TAGS = st.sampled_from([0, 1, 2, 3, 4, 0x10, 0xFF])
PDV = st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 0xFF]), st.binary(max_size=60))


def feed(data: bytes, own_max: int = 16384) -> list[Message]:
    """Return the messages that a channel reads until the association is over."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        ours.settimeout(5)
        channel = Channel(ours, 16384, own_max)
        found: list[Message] = []
        with contextlib.suppress(ChannelClosedError):
            while len(found) < 1000:
                found.append(channel.receive())
        return found


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert len(feed(data)) < 1000


@given(st.lists(PDV, max_size=6), st.integers(-6, 6))
def test_any_values_with_any_length(values: list[tuple[int, int, bytes]], wrong: int) -> None:
    body = b"".join(
        struct.pack(">IBB", max(0, len(data) + 2 + wrong), number, kind) + data for number, kind, data in values
    )
    assert len(feed(struct.pack(">BxI", 4, len(body)) + body)) <= 6


@given(st.dictionaries(st.integers(1, 0xFFFF), st.integers(0, 0xFFFF) | st.text(max_size=64), max_size=12))
def test_a_command_set_is_read_as_it_was_written(elements: dict[int, int | str]) -> None:
    ordered = sorted(elements.items())
    read = Command.decode(commands.encode(ordered))
    for number, value in ordered:
        if isinstance(value, int):
            assert read.number(number) == value
        elif value.isascii():
            assert read.text(number) == value.strip(" \0")


@given(st.binary(max_size=200))
def test_any_command_set_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        Command.decode(data)


@given(st.binary(max_size=120), st.sampled_from(IDENTIFIER_SYNTAXES))
def test_any_identifier_is_read_or_refused(data: bytes, syntax: str) -> None:
    with contextlib.suppress(ValueError):
        decode_identifier(data, syntax)


@given(
    st.lists(
        st.sampled_from([b"\x40\x00\x75\x02SQ\0\0", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\0\0\0\0"]),
        max_size=400,
    )
)
def test_any_nesting_is_read_or_refused(parts: list[bytes]) -> None:
    with contextlib.suppress(ValueError):
        decode_identifier(b"".join(parts), IDENTIFIER_SYNTAXES[0])


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 70_000),
    st.sampled_from([0, 1, 7, 8, 9, 100, 4096, 16_384, 131_072]),
    st.integers(1, 5000),
    st.booleans(),
)
def test_a_data_set_arrives_whole_in_fragments_that_fit(length: int, longest: int, piece: int, streamed: bool) -> None:
    class Dribble(io.BytesIO):
        """A stream that gives less than is asked for."""

        def readinto(self, buffer: object) -> int:  # type: ignore[override]
            return super().readinto(memoryview(buffer)[:piece])  # type: ignore[call-overload,no-any-return]

    data = bytes(range(256)) * (length // 256) + bytes(length % 256)
    command = commands.store_request("1.2.3", "1.2.3.4", 7)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        got = bytearray()
        reader = threading.Thread(target=lambda: got.extend(read_all(theirs)))
        reader.start()
        channel = Channel(ours, longest, 0)
        if streamed:
            channel.send(3, command, Dribble(data), len(data))
        else:
            channel.send(3, command, data)
        ours.shutdown(socket.SHUT_WR)
        reader.join()
    most = max(longest, 8) if longest else 1 << 30
    place = 0
    while place < len(got):
        (size,) = struct.unpack_from(">xxI", got, place)
        assert 6 <= size <= most
        place += 6 + size
    (message,) = feed(bytes(got), own_max=1 << 20) if length <= 16_384 else [Message(3, Command(), data)]
    assert message.context_id == 3
    assert message.data == data


def read_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while piece := connection.recv(1 << 16):
        data += piece
    return bytes(data)


def test_a_data_set_without_end_is_refused() -> None:
    ours, theirs = socket.socketpair()
    command = commands.encode([(commands.COMMAND_FIELD, commands.C_FIND_RQ), (commands.DATA_SET_TYPE, 1)])
    with ours, theirs:

        def flood() -> None:
            piece = bytes(10_000)
            with contextlib.suppress(OSError):
                theirs.sendall(struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command)
                for _ in range(1000):
                    theirs.sendall(struct.pack(">BxIIBB", 4, len(piece) + 6, len(piece) + 2, 1, 0) + piece)

        thread = threading.Thread(target=flood)
        thread.start()
        channel = Channel(ours, 16384, 16384)
        with pytest.raises(ProtocolError, match="longer than any"):
            channel.receive()
        assert len(channel._data) <= MOST_DATA + 16384
        ours.close()
        thread.join(10)
