"""The receive path over a pair of sockets: what is answered, and what is left in the spool."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.support.dimse import (
    CT,
    DATA_SET,
    EXPLICIT,
    RELEASE,
    VERIFICATION,
    Requestor,
    associate_rq,
    command,
    context_item,
    echo_rq,
    element,
    even,
    make_receiver,
    pdu,
    pdv,
    short,
    store,
    store_rq,
)
from tests.support.instances import copy_of
from tests.support.ports import wait_until
from vna.gateways.dimse.contexts import Supported
from vna.gateways.dimse.negotiation import accept, parse_request
from vna.gateways.dimse.pdu import PduStream
from vna.gateways.dimse.storage import StorageAssociation
from vna.ingest.receive import Receiver

MAX_PDU = 16384
FIND_RQ = command(element(0x0100, short(0x0020)), element(0x0110, short(9)), element(0x0800, short(0)))
STORE_RSP = command(element(0x0100, short(0x8001)), element(0x0120, short(1)), element(0x0800, short(0x0101)))


class Served(Requestor):
    """A requestor, and the loop that serves it in a thread."""

    def __init__(self, receiver: Receiver, *, max_length: int = 0, max_object: int = 1 << 30, idle: float = 10) -> None:
        here, there = socket.socketpair()
        super().__init__(here)
        self.receiver = receiver
        contexts = (context_item(1, CT, EXPLICIT), context_item(3, VERIFICATION, EXPLICIT))
        request = parse_request(associate_rq(*contexts, max_length=max_length))
        _pdu, accepted = accept(request, Supported(), MAX_PDU)
        stream = PduStream(there, MAX_PDU)
        stream.set_silence(idle)
        self.association = StorageAssociation(
            stream, request, accepted, receiver, address="127.0.0.1", max_object_bytes=max_object, close_seconds=2
        )
        self.how = ""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.how = self.association.run()

    def ends_with_abort(self, source: int, reason: int) -> None:
        """Read on to the A-ABORT, and to the end of the thread."""
        while (kind := (got := self.read())[0]) not in {0, 7}:
            pass
        assert (kind, got[1]) == (7, bytes((0, 0, source, reason)))
        self.close()
        self.ends()

    def ends(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert os.listdir(self.receiver.spool.partial) == []

    def stored(self) -> list[Path]:
        entries = sorted(self.receiver.spool.entries(), key=lambda entry: entry.received_us)
        return [copy_of(self.receiver.spool, entry) for entry in entries]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = make_receiver(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def served(receiver: Receiver) -> Iterator[Served]:
    made = Served(receiver)
    yield made
    made.close()
    made.thread.join(10)


def test_instance_is_a_whole_file_when_it_is_acknowledged(served: Served) -> None:
    served.send(store(1, "1.2.3.77", message_id=513))
    answered = served.response()
    assert answered[0x0100] == short(0x8001)
    assert answered[0x0120] == short(513)
    assert answered[0x0800] == short(0x0101)
    assert answered[0x0900] == short(0)
    assert answered[0x0002] == even(CT)
    assert answered[0x1000] == even("1.2.3.77")
    (file,) = served.stored()
    data = file.read_bytes()
    assert data.endswith(DATA_SET)
    read = pydicom.dcmread(file)
    assert read.SpecificCharacterSet == "ISO_IR 100"
    assert read.file_meta.MediaStorageSOPInstanceUID == "1.2.3.77"
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read.file_meta.SendingApplicationEntityTitle == "TEST"
    assert read.file_meta.ReceivingApplicationEntityTitle == "VNA"
    assert read.file_meta.FileMetaInformationGroupLength == len(data) - len(DATA_SET) - 144
    served.send(RELEASE)
    assert served.read() == (6, bytes(4))
    served.close()
    served.ends()
    assert served.how == "released"


def test_data_set_in_many_fragments_and_pdus_is_the_same_bytes(served: Served) -> None:
    data = os.urandom(100_001)
    served.send(pdu(4, pdv(1, 1, store_rq()[:50]) + pdv(1, 3, store_rq()[50:]) + pdv(1, 0, data[:7])))
    at = 7
    while at < len(data):
        pieces = [data[at + i : at + i + 1999] for i in range(0, 7996, 1999)]
        at += 7996
        last = at >= len(data)
        body = b"".join(pdv(1, 0, piece) for piece in pieces if piece)
        served.send(pdu(4, body + pdv(1, 2, b"")) if last else pdu(4, body))
    assert served.status() == 0
    (file,) = served.stored()
    assert file.read_bytes()[-len(data) :] == data


def test_several_requests_before_any_answer_are_answered_in_order(served: Served) -> None:
    echo = pdu(4, pdv(3, 3, echo_rq(2)))
    served.send(store(1, "1.2.1", message_id=1) + echo + store(1, "1.2.3", message_id=3))
    answers = [served.response() for _ in range(3)]
    assert [int.from_bytes(answer[0x0120], "little") for answer in answers] == [1, 2, 3]
    assert [int.from_bytes(answer[0x0100], "little") for answer in answers] == [0x8001, 0x8030, 0x8001]
    assert len(served.stored()) == 2


def test_responses_keep_to_the_peers_maximum_length(receiver: Receiver) -> None:
    served = Served(receiver, max_length=50)
    served.send(store(1))
    got, last = b"", False
    while not last:
        kind, body = served.read()
        assert kind == 4
        assert len(body) <= 50
        last = body[5] == 3
        assert last or body[5] == 1
        got += body[6:]
    assert got[:8] == element(0, bytes(4))[:8]
    assert len(got) == 12 + int.from_bytes(got[8:12], "little")
    served.close()
    served.ends()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (pdu(4, pdv(1, 3, store_rq())) + pdu(4, pdv(1, 2, b"")), 0xC000),
        (store(1, uid=""), 0xC000),
        (store(1, uid="9" * 65), 0x0117),
        (store(1, uid="1.2\x01"), 0x0117),
        (store(1, uid="not a uid, but kept"), 0x0000),
        (store(1, sop_class=VERIFICATION), 0x0122),
        (store(3), 0x0211),
        (pdu(4, pdv(1, 3, store_rq(data=False))), 0xC000),
        (pdu(4, pdv(1, 3, echo_rq())), 0x0211),
        (pdu(4, pdv(3, 3, echo_rq())), 0x0000),
        (pdu(4, pdv(1, 3, FIND_RQ)) + pdu(4, pdv(1, 2, b"identifier")), 0x0211),
    ],
)
def test_statuses(served: Served, request_bytes: bytes, status: int) -> None:
    served.send(request_bytes)
    assert served.status() == status
    served.send(store(1, "1.2.99"))
    assert served.status() == 0, "the association goes on"
    served.send(RELEASE)
    assert served.read()[0] == 6
    served.close()
    served.ends()
    assert len(served.stored()) == (2 if status == 0 and b"not a uid" in request_bytes else 1)


def test_cancel_is_passed_over(served: Served) -> None:
    cancel = command(element(0x0100, short(0x0FFF)), element(0x0120, short(1)), element(0x0800, short(0x0101)))
    served.send(pdu(4, pdv(1, 3, cancel)) + pdu(4, pdv(3, 3, echo_rq())))
    assert served.response()[0x0100] == short(0x8030)


def test_object_over_the_limit_is_refused_and_the_association_goes_on(receiver: Receiver) -> None:
    served = Served(receiver, max_object=20_000)
    half = bytes(12_000)
    served.send(pdu(4, pdv(1, 3, store_rq())))
    for last in (0, 0, 0, 2):
        served.send(pdu(4, pdv(1, last, half)))
    assert served.status() == 0xA700
    served.send(store(1, "1.2.4"))
    assert served.status() == 0
    assert len(served.stored()) == 1
    served.close()
    served.ends()


def test_short_disk_refuses_and_the_association_goes_on(tmp_path: Path) -> None:
    receiver = make_receiver(tmp_path / "spool", min_free_bytes=1 << 60)
    served = Served(receiver)
    for _ in range(2):
        served.send(store(1))
        answered = served.response()
        assert answered[0x0900] == short(0xA700)
        assert str(tmp_path).encode() not in answered[0x0902]
    served.close()
    served.ends()
    receiver.close()


P = pdv(1, 3, store_rq())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (associate_rq(context_item(1, CT, EXPLICIT)), 2),
        (pdu(2, bytes(68)), 2),
        (pdu(3, bytes(4)), 2),
        (pdu(6, bytes(4)), 2),
        (pdu(9, b""), 1),
        (pdu(0, b""), 1),
        (pdu(5, bytes(5)), 6),
        (pdu(4, b""), 6),
        (pdu(4, b"\0\0\0\1\1"), 6),
        (pdu(4, struct.pack(">IBB", 1, 1, 3)), 6),
        (pdu(4, struct.pack(">IBB", 0xFFFFFFFF, 1, 3)), 6),
        (struct.pack(">BxI", 4, MAX_PDU + 65), 6),
        (struct.pack(">BxI", 4, 0xFFFFFFFF), 6),
        (pdu(4, pdv(7, 3, store_rq())), 6),
        (pdu(4, pdv(1, 2, b"data before a command")), 5),
        (pdu(4, P + P), 5),
        (pdu(4, P + pdv(3, 2, b"other context")), 6),
        (pdu(4, pdv(1, 1, store_rq()[:20]) + pdv(3, 3, store_rq()[20:])), 6),
        (pdu(4, pdv(1, 3, b"")), 6),
        (pdu(4, pdv(1, 3, b"\0\0\0\0\xff\xff\xff\xff")), 6),
        (pdu(4, pdv(1, 3, b"\x08\0\x05\0\0\0\0\0")), 6),
        (pdu(4, pdv(1, 3, command(element(0x0100, b"\1")))), 6),
        (pdu(4, pdv(1, 3, command(element(0x0100, short(1)), element(0x0800, short(0))))), 6),
        (pdu(4, pdv(1, 3, STORE_RSP)), 5),
        (b"".join(pdu(4, pdv(1, 1, bytes(16000))) for _ in range(5)), 6),
    ],
)
def test_what_the_protocol_does_not_allow_is_aborted_with_its_reason(served: Served, data: bytes, reason: int) -> None:
    served.send(store(1))
    assert served.status() == 0
    served.send(data)
    served.ends_with_abort(2, reason)
    assert len(served.stored()) == 1


@pytest.mark.parametrize("end", [RELEASE, pdu(7, bytes(4)), b"", b"\4\0\0"])
def test_nothing_is_left_of_a_data_set_that_did_not_end(served: Served, end: bytes) -> None:
    served.send(pdu(4, P + pdv(1, 0, bytes(5000))))
    served.send(end)
    if end == RELEASE:
        assert served.read()[0] == 6
    served.close()
    served.ends()
    assert served.stored() == []


def test_silent_peer_is_aborted(receiver: Receiver) -> None:
    served = Served(receiver, idle=0.2)
    served.send(pdu(4, P + pdv(1, 0, bytes(5000))))
    served.ends_with_abort(2, 0)
    assert served.stored() == []


def test_stop_ends_an_idle_association_now_and_a_busy_one_after_its_instance(receiver: Receiver) -> None:
    idle, busy = Served(receiver), Served(receiver)
    idle.send(store(1, "1.2.1"))
    assert idle.status() == 0
    busy.send(pdu(4, P))
    wait_until(lambda: busy.association._message is not None, 10, "the instance has begun")
    idle.association.stop()
    busy.association.stop()
    assert idle.read() == (7, bytes((0, 0, 0, 0)))
    idle.close()
    idle.thread.join(10)
    assert not idle.thread.is_alive()
    busy.send(pdu(4, pdv(1, 2, DATA_SET)))
    assert busy.status() == 0
    busy.ends_with_abort(0, 0)
    assert len(busy.stored()) == 2


def test_spool_holds_what_was_sent(served: Served) -> None:
    sent = [os.urandom(size) for size in (2, 1000, MAX_PDU - 6)]
    for number, data in enumerate(sent):
        served.send(store(1, f"1.2.{number}", data=data))
        assert served.status() == 0
    kept = [
        hashlib.sha256(file.read_bytes()[-len(data) :]).digest()
        for file, data in zip(served.stored(), sent, strict=True)
    ]
    assert kept == [hashlib.sha256(data).digest() for data in sent]
