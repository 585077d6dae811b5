"""Whatever bytes arrive: the connection's thread ends, and the spool holds what was acknowledged and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.dimse import (
    CT,
    EXPLICIT,
    RELEASE,
    VERIFICATION,
    associate_rq,
    context_item,
    echo_rq,
    elements,
    item,
    make_receiver,
    pdu,
    pdv,
    store,
    store_rq,
)
from vna.config import load_settings
from vna.gateways.dimse.access import AccessPolicy
from vna.gateways.dimse.command import parse_command
from vna.gateways.dimse.connection import Admission, Connection, Parts
from vna.gateways.dimse.contexts import Supported
from vna.gateways.dimse.negotiation import parse_request
from vna.gateways.dimse.pdu import PduError, encode_command

_FUZZ = settings(max_examples=int(os.environ.get("VNA_FUZZ_EXAMPLES", "150")), deadline=None)
_RQ = associate_rq(
    context_item(1, CT, EXPLICIT),
    context_item(3, VERIFICATION, EXPLICIT),
    user=item(0x53, bytes(4)) + item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\1\1"),
)

_numbers = st.sampled_from([1, 3, 5])
_pieces = st.one_of(
    st.builds(store, _numbers, st.sampled_from(["1.2", "1.3", ""]), st.binary(max_size=40)),
    st.builds(lambda n: pdu(4, pdv(n, 3, echo_rq())), _numbers),
    st.builds(lambda n, c, d: pdu(4, pdv(n, c, d)), _numbers, st.integers(0, 7), st.binary(max_size=30)),
    st.builds(lambda n: pdu(4, pdv(n, 3, store_rq()) + pdv(n, 0, b"part")), _numbers),
    st.builds(pdu, st.integers(0, 9), st.binary(max_size=12)),
    st.just(RELEASE),
    st.binary(max_size=20),
    st.builds(lambda k, n: struct.pack(">BxI", k, n), st.integers(0, 8), st.integers(0, 0xFFFFFFFF)),
)


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """A request and PDUs, good and bad, with a few bytes changed."""
    data = bytearray(draw(st.sampled_from([_RQ, b""])) + b"".join(draw(st.lists(_pieces, max_size=6))))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)):
        if data:
            data[place % len(data)] = value
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def _talk(data: bytes, cuts: list[int], folder: Path) -> tuple[bytes, list[str], int]:
    """Send bytes to a connection, close the way there, and return its answers, what is left over and what is stored."""
    receiver = make_receiver(folder)
    dimse = load_settings(dimse={"accept_unknown": "any", "artim_seconds": 5, "idle_seconds": 5}).dimse
    parts = Parts(dimse, AccessPolicy.configured(dimse), Supported(), receiver, Admission(2))
    here, there = socket.socketpair()
    with here:
        here.settimeout(10)
        served = Connection(parts, there, ("127.0.0.1", 1))
        served.start()
        try:
            at = 0
            for cut in sorted(cuts):
                here.sendall(data[at:cut])
                at = max(at, cut)
            here.sendall(data[at:])
            here.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        out = b""
        while True:
            try:
                piece = here.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            out += piece
    served.join(10)
    assert not served.is_alive()
    assert parts.admission.open == 0
    left = os.listdir(receiver.spool.partial)
    stored = sum(1 for _ in receiver.spool.entries())
    receiver.close()
    return out, left, stored


def _acknowledged(answers: bytes) -> int:
    count = at = 0
    while at + 6 <= len(answers):
        kind, length = struct.unpack_from(">BxI", answers, at)
        assert 1 <= kind <= 7
        body = answers[at + 6 : at + 6 + length]
        if kind == 4:
            found = elements(body[6:])
            count += found[0x0100] == b"\x01\x80" and found[0x0900] == b"\0\0"
        at += 6 + length
    assert at == len(answers), "an answer is cut short"
    return count


@_FUZZ
@given(_streams(), st.lists(st.integers(0, 2000), max_size=3))
def test_any_stream(data: bytes, cuts: list[int]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        answers, left, stored = _talk(data, cuts, folder)
    finally:
        shutil.rmtree(folder)
    assert left == []
    assert _acknowledged(answers) == stored


@settings(parent=_FUZZ, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8))
def test_any_request_is_read_or_refused(tail: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(_RQ + tail)
    for place, value in changes:
        data[place % len(data)] = value
    for candidate in (bytes(data), tail, _RQ[:74] + tail):
        try:
            request = parse_request(candidate)
        except PduError:
            continue
        assert request.contexts


@_FUZZ
@given(st.binary(max_size=200))
def test_any_command_set_is_read_or_refused(data: bytes) -> None:
    for candidate in (data, store_rq() + data, store_rq()[: len(data)]):
        try:
            command = parse_command(candidate)
        except PduError:
            continue
        assert 0 <= command.field <= 0xFFFF


@given(st.binary(min_size=2, max_size=600), st.integers(0, 300))
def test_fragments_of_a_command_join_to_it(value: bytes, limit: int) -> None:
    out, at, got, last = encode_command(7, value, limit), 0, b"", False
    while at < len(out):
        kind, length, inner, number, control = struct.unpack_from(">BxIIBB", out, at)
        assert (kind, number, inner) == (4, 7, length - 4)
        assert not last
        assert limit == 0 or length <= max(limit, 8)
        got += out[at + 12 : at + 6 + length]
        last = control == 3
        at += 6 + length
    assert last
    assert got == value
