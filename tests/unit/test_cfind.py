"""C-FIND without the network: identifiers read and written, understood, answered, and served over a socket pair."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from vna.dicom.dataset import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IDENTIFIER_SYNTAXES,
    IMPLICIT_LITTLE,
    Element,
    decode_identifier,
    encode_answer,
)
from vna.domain.errors import InvalidQueryError, UnavailableError
from vna.domain.query import AnyOf, DateTimeRange, Hit, Level, Query, Range, Selector, Wildcard
from vna.gateways.dimse.operation import Operation, Request
from vna.gateways.dimse.query import QueryService, accept_extended, negotiated
from vna.index.sqlite import SqliteIndex
from vna.peers import commands
from vna.peers.channel import Channel, ChannelClosedError, Message
from vna.search.cfind import Options, Root, understand
from vna.search.cfind_answer import answer
from vna.search.selection import select

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
LEVEL = {"00080052": Element("CS", "STUDY")}
ENCODINGS = {IMPLICIT_LITTLE: (True, True), EXPLICIT_LITTLE: (False, True), EXPLICIT_BIG: (False, False)}


def study(**attributes: Any) -> Hit:
    values = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}}
    return Hit(Level.STUDY, "x", {**values, **attributes})


@pytest.mark.parametrize("syntax", IDENTIFIER_SYNTAXES)
def test_identifiers_are_read_as_texts(syntax: str) -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.QueryRetrieveLevel = "SERIES"
    ds.PatientName = "Müller*"
    ds.StudyDate = "20260101-"
    ds.StudyInstanceUID = ["1.2.3", "1.2.4"]
    ds.Rows = 512
    inner = Dataset()
    inner.ScheduledProcedureStepID = "é"
    ds.RequestAttributesSequence = [inner]
    ds.ReferencedStudySequence = []
    raw = encode(ds, *ENCODINGS[syntax])
    assert raw is not None
    found = decode_identifier(raw, syntax)
    assert found["00100010"] == Element("PN", "Müller*")
    assert found["00080020"] == Element("DA", "20260101-")
    assert found["0020000D"] == Element("UI", "1.2.3\\1.2.4")
    assert found["00280010"] == Element("US", "512")
    assert found["00400275"] == Element("SQ", items=({"00400009": Element("SH", "é")},))
    assert found["00081110"] == Element("SQ")


def test_undefined_lengths_are_read() -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x40\x00\x09\x00SH\x02\x00S1" + b"\xfe\xff\x0d\xe0\0\0\0\0"
    raw = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0" + b"\x40\x00\x76\x02LO\0\0"
    found = decode_identifier(raw, EXPLICIT_LITTLE)
    assert found["00400275"] == Element("SQ", items=({"00400009": Element("SH", "S1")},))
    assert found["00400276"] == Element("LO")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x10",
        b"\x10\x00\x10\x00PN\x08\x00Doe",
        b"\x40\x00\x75\x02SQ\0\0\x08\x00\x00\x00",
        b"\x40\x00\x75\x02SQ\0\0\x08\x00\x00\x00\x10\x00\x10\x00\x00\x00\x00\x00",
        b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
        b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 40,
    ],
)
def test_broken_identifiers_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"identifier|item|sequence"):
        decode_identifier(raw, EXPLICIT_LITTLE)


ANSWER = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
    "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
    "00201208": {"vr": "IS", "Value": [3]},
    "00280030": {"vr": "DS", "Value": [0.12345678901234567, 1.0]},
    "00280010": {"vr": "US", "Value": [512]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00186024": {"vr": "UL", "Value": [7]},
    "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {}]},
    "00200010": {"vr": "SH"},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00091001": {"vr": "UN", "InlineBinary": "AAE="},
}


@pytest.mark.parametrize("syntax", IDENTIFIER_SYNTAXES)
def test_answers_are_written_as_pydicom_reads_them(syntax: str) -> None:
    ds = decode(BytesIO(encode_answer(ANSWER, syntax)), *ENCODINGS[syntax])
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert ds.PatientName == "Yamada^Tarou=山田^太郎"
    assert ds.ModalitiesInStudy == ["CT", "MR"]
    assert ds.NumberOfStudyRelatedInstances == 3
    assert [str(value) for value in ds.PixelSpacing] == ["0.12345678901235", "1"]
    assert (ds.Rows, ds.FrameIncrementPointer) == (512, 0x00181063)
    assert [len(item) for item in ds.RequestAttributesSequence] == [1, 0]
    assert ds["StudyID"].is_empty
    assert ds.StudyInstanceUID == "1.2.3"
    assert ds[0x00091001].value == b"\0\1"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("plain", None),
        ("Müller", "ISO_IR 100"),
        ("Ελλάς", "ISO_IR 192"),
        ("a\x85b", "ISO_IR 192"),
        ("😀", "ISO_IR 192"),
    ],
)
def test_the_smallest_character_set_that_holds_the_answer(text: str, charset: str | None) -> None:
    attributes = {"00081030": {"vr": "LO", "Value": [text]}, "00080005": {"vr": "CS", "Value": ["ISO_IR 144"]}}
    found = decode_identifier(encode_answer(attributes, IMPLICIT_LITTLE), IMPLICIT_LITTLE)
    assert found["00081030"].text == text
    assert found.get("00080005", Element("CS")).text == (charset or "")


@pytest.mark.parametrize("vr", ["US", "IS", "DS", "AT", "FD", "LO", "PN", "OB", "ZZ", "UL", "DA"])
def test_values_that_are_not_of_their_vr_do_not_stop_an_answer(vr: str) -> None:
    for value in ("x", None, -1, 1e300, {"Alphabetic": "A"}):
        raw = encode_answer({"00081030": {"vr": vr, "Value": [value]}}, EXPLICIT_LITTLE)
        assert raw[:4] == b"\x08\x00\x30\x10"
        assert len(raw) % 2 == 0


def test_a_text_too_long_for_its_vr_is_written_as_unknown() -> None:
    raw = encode_answer({"00204000": {"vr": "LT", "Value": ["x" * 70_000]}}, EXPLICIT_LITTLE)
    assert raw[4:6] == b"UN"
    assert len(raw) == 70_012


def test_matching_and_return_keys() -> None:
    wanted = understand(
        {
            **LEVEL,
            "00080005": Element("CS", "ISO_IR 100"),
            "00100010": Element("PN", "Doe*"),
            "00080020": Element("DA", "20260101-"),
            "00200010": Element("SH"),
        },
        Root.STUDY,
    )
    assert wanted.query == Query(Level.STUDY, (Wildcard("00100010", "doe*"), Range("00080020", "20260101", None)))
    assert set(wanted.keys) == {"00100010", "00080020", "00200010"}
    assert not wanted.unsupported


def test_combined_matching_only_when_negotiated() -> None:
    keys = {**LEVEL, "00080020": Element("DA", "20260101-20260102"), "00080030": Element("TM", "10-11")}
    assert len(understand(keys, Root.STUDY).query.criteria) == 2
    (combined,) = understand(keys, Root.STUDY, Options(combined=True)).query.criteria
    assert combined == DateTimeRange("00080020", "00080030", "20260101100000.000000", "20260102115959.999999")


def test_sequences_are_matched_by_path() -> None:
    item = {"00400009": Element("SH", "S1"), "00401001": Element("SH")}
    keys = {
        "00080052": Element("CS", "SERIES"),
        "0020000D": Element("UI", "1.2.3"),
        "00400275": Element("SQ", items=(item,)),
    }
    wanted = understand(keys, Root.STUDY)
    assert wanted.query.criteria == (AnyOf("0020000D", ("1.2.3",)), AnyOf("00400275.00400009", ("S1",)))
    with pytest.raises(InvalidQueryError, match="RequestAttributesSequence"):
        understand({**keys, "00400275": Element("SQ", items=(item, item))}, Root.STUDY)


def test_private_keys_are_matched_and_answered_by_their_creator() -> None:
    keys = {
        "00080052": Element("CS", "IMAGE"),
        **{tag: Element("UI", "1") for tag in ("0020000D", "0020000E")},
        "00090010": Element("LO", "ACME 1.0"),
        "00091001": Element("LO", "on"),
        "00111001": Element("LO", "no creator"),
    }
    wanted = understand(keys, Root.STUDY)
    assert AnyOf("0009xx01@ACME 1.0", ("on",)) in wanted.query.criteria
    stored = {
        "00090010": {"vr": "LO", "Value": ["OTHER"]},
        "00090011": {"vr": "LO", "Value": ["ACME 1.0"]},
        "00091001": {"vr": "LO", "Value": ["wrong"]},
        "00091101": {"vr": "LO", "Value": ["on"]},
    }
    found = answer(wanted, Hit(Level.INSTANCE, "x", stored), "VNA")
    assert found["00090010"]["Value"] == ["ACME 1.0"]
    assert found["00091001"]["Value"] == ["on"]
    assert "00111001" not in found


def test_an_answer_holds_the_keys_asked_for() -> None:
    wanted = understand(
        {**LEVEL, "00100010": Element("PN"), "00200010": Element("SH"), "00080056": Element("CS")}, Root.STUDY
    )
    assert answer(wanted, study(), "VNA") == {
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "00080054": {"vr": "AE", "Value": ["VNA"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
        "00200010": {"vr": "SH"},
    }


def test_counts_of_another_level_are_not_supported() -> None:
    for tag in ("00201200", "00201209", "00080060", "00280010"):
        wanted = understand({**LEVEL, tag: Element("IS")}, Root.STUDY)
        assert wanted.unsupported
        assert tag not in wanted.keys


def test_selection() -> None:
    keys = {
        "00080052": Element("CS", "IMAGE"),
        "00100020": Element("LO", " P1 "),
        "0020000D": Element("UI", "1.2"),
        "00080018": Element("UI", "1.2.3\\1.2.4\0"),
    }
    assert select(keys, Root.PATIENT) == Selector("P1", ("1.2",), (), ("1.2.3", "1.2.4"))
    keys["00080052"] = Element("CS", "STUDY")
    assert select(keys, Root.STUDY) == Selector("P1", ("1.2",))
    with pytest.raises(InvalidQueryError):
        select({**keys, "00100020": Element("LO", "A\\B")}, Root.STUDY)


def test_extended_negotiation() -> None:
    assert accept_extended(b"") == b""
    assert accept_extended(b"\1") == b"\1"
    assert accept_extended(b"\1\0\1") == b"\1\0\1"
    assert accept_extended(b"\1" * 9) == b"\1\1\1\0\0\1\1\0\0"
    assert negotiated(b"") == Options()
    assert negotiated(b"\1\1\0") == Options(relational=True, combined=True)
    assert negotiated(b"\0\0\1") == Options(fuzzy=True)


# ---- served over a socket pair


class Endless(SqliteIndex):
    """An index with as many studies as one wants, which counts how many were taken."""

    taken = 0
    total = 20_000
    error: Exception | None = None

    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:  # noqa: ARG002 - what is asked does not matter
        for number in range(self.total):
            self.taken = number + 1
            yield study(**{"00200010": {"vr": "SH", "Value": [str(number)]}})
        if self.error is not None:
            raise self.error


@contextmanager
def served(index: Endless, keys: dict[str, Any]) -> Iterator[Channel]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(20)
    raw = encode_answer(keys, IMPLICIT_LITTLE)
    request = Request(commands.C_FIND_RQ, 1, STUDY_FIND, IMPLICIT_LITTLE, 7, 0, raw, "", "ME")

    def serve() -> None:
        try:
            QueryService(index, "VNA").serve(Operation(Channel(ours, 16384, 16384), request), Options())
        except ChannelClosedError:
            pass
        finally:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Channel(theirs, 16384, 16384)
    finally:
        theirs.close()
        thread.join(20)
        assert not thread.is_alive()


def responses(channel: Channel) -> list[Message]:
    found = [channel.receive()]
    while found[-1].command.number(commands.STATUS) in {0xFF00, 0xFF01}:
        found.append(channel.receive())
    return found


KEYS = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "0020000D": {"vr": "UI"}, "00200010": {"vr": "SH"}}


def test_what_the_peer_does_not_take_is_not_made(tmp_path: Path) -> None:
    index = Endless(tmp_path / "index")
    with served(index, KEYS) as channel:
        assert channel.receive().command.number(commands.STATUS) == 0xFF00
        threading.Event().wait(0.5)
        assert index.taken < 10_000
        assert len(responses(channel)) == index.total


def test_cancel_ends_the_answer(tmp_path: Path) -> None:
    index = Endless(tmp_path / "index")
    cancel = [
        (commands.COMMAND_FIELD, commands.C_CANCEL_RQ),
        (commands.RESPONDED_TO, 7),
        (commands.DATA_SET_TYPE, 0x0101),
    ]
    with served(index, KEYS) as channel:
        channel.receive()
        channel.send(1, commands.encode(cancel))
        last = responses(channel)[-1]
    assert last.command.number(commands.STATUS) == 0xFE00
    assert not last.data
    assert index.taken < index.total


def test_the_cancel_of_another_request_changes_nothing(tmp_path: Path) -> None:
    index = Endless(tmp_path / "index")
    index.total = 3_000
    cancel = [
        (commands.COMMAND_FIELD, commands.C_CANCEL_RQ),
        (commands.RESPONDED_TO, 8),
        (commands.DATA_SET_TYPE, 0x0101),
    ]
    with served(index, KEYS) as channel:
        channel.send(1, commands.encode(cancel))
        assert responses(channel)[-1].command.number(commands.STATUS) == 0x0000


def test_a_second_request_before_the_first_is_answered_ends_the_association(tmp_path: Path) -> None:
    index = Endless(tmp_path / "index")
    echo = [(commands.COMMAND_FIELD, 0x0030), (commands.MESSAGE_ID, 9), (commands.DATA_SET_TYPE, 0x0101)]
    with served(index, KEYS) as channel:
        channel.send(1, commands.encode(echo))
        with pytest.raises(ChannelClosedError):
            responses(channel)
    assert index.taken < index.total


@pytest.mark.parametrize(
    ("error", "status"), [(UnavailableError("no route to 10.0.0.1"), 0xA700), (RuntimeError("secret"), 0xC000)]
)
def test_an_index_that_fails_on_the_way_is_told(tmp_path: Path, error: Exception, status: int) -> None:
    index = Endless(tmp_path / "index")
    index.total, index.error = 3, error
    with served(index, KEYS) as channel:
        found = responses(channel)
    assert [one.command.number(commands.STATUS) for one in found] == [0xFF00] * 3 + [status]
    comment = found[-1].command.text(commands.ERROR_COMMENT)
    assert comment
    assert "10.0.0.1" not in comment
    assert "secret" not in comment


def test_an_identifier_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = Request(commands.C_FIND_RQ, 1, STUDY_FIND, EXPLICIT_LITTLE, 7, 0, b"\x10\x00\x10", "", "ME")
        QueryService(Endless(tmp_path / "index"), "VNA").serve(Operation(Channel(ours, 0, 0), request), Options())
        refusal = Channel(theirs, 0, 0).receive().command
    assert refusal.number(commands.STATUS) == 0xA900
    assert "identifier" in refusal.text(commands.ERROR_COMMENT)
