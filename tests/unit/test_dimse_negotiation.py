from __future__ import annotations

import struct

import pytest

from tests.support.dimse import (
    CT,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    associate_rq,
    context_item,
    context_results,
    item,
    user_items,
)
from vna.config import load_settings
from vna.domain.errors import ConfigurationError
from vna.gateways.dimse.access import AccessPolicy
from vna.gateways.dimse.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, Supported
from vna.gateways.dimse.negotiation import accept, check_protocol, parse_request
from vna.gateways.dimse.pdu import PduError

MR = "1.2.840.10008.5.1.4.1.1.4"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def answer(*contexts: bytes, user: bytes = b"", supported: Supported | None = None) -> bytes:
    pdu, _contexts = accept(parse_request(associate_rq(*contexts, user=user)), supported or Supported(), 65536)
    assert struct.unpack(">BxI", pdu[:6]) == (2, len(pdu) - 6)
    return pdu[6:]


def test_request_is_read_whole() -> None:
    user = item(0x53, struct.pack(">HH", 5, 7)) + item(0x55, b"NAME_1") + item(0x7F, b"whatever")
    request = parse_request(
        associate_rq(
            context_item(1, CT, EXPLICIT, IMPLICIT),
            context_item(3, VERIFICATION, IMPLICIT),
            called=b" VNA ",
            calling=b"CT 1",
            user=user,
            further=item(0x99, b"unknown"),
            max_length=0,
        )
    )
    assert (request.called, request.calling, request.max_length) == ("VNA", "CT 1", 0)
    assert [(c.id, c.abstract_syntax, c.transfer_syntaxes) for c in request.contexts] == [
        (1, CT, (EXPLICIT, IMPLICIT)),
        (3, VERIFICATION, (IMPLICIT,)),
    ]
    assert request.window == (5, 7)
    assert (request.implementation_class, request.implementation_version) == ("1.2.3.4", "NAME_1")
    assert check_protocol(request) is None


def test_results_of_contexts_are_those_of_the_standard() -> None:
    found = context_results(
        answer(
            context_item(1, CT, "1.2.3.4.5", IMPLICIT, EXPLICIT),
            context_item(3, FIND, IMPLICIT),
            context_item(5, MR, "1.2.3.4.5"),
            context_item(255, VERIFICATION, EXPLICIT),
        )
    )
    assert found[1] == (0, IMPLICIT), "the requestor's order decides"
    assert found[3][0] == 3, "abstract syntax not supported"
    assert found[5][0] == 4, "transfer syntaxes not supported"
    assert found[255] == (0, EXPLICIT)


@pytest.mark.parametrize("uid", sorted(TRANSFER_SYNTAXES))
def test_every_transfer_syntax_is_accepted(uid: str) -> None:
    assert context_results(answer(context_item(1, CT, uid)))[1] == (0, uid)


def test_every_storage_class_is_accepted_and_private_ones_when_configured() -> None:
    for uid in STORAGE_SOP_CLASSES:
        assert context_results(answer(context_item(1, uid, EXPLICIT)))[1][0] == 0
    private = Supported.configured(["1.2.826.0.1.9"], ["1.2.826.0.1.8"])
    assert context_results(answer(context_item(1, "1.2.826.0.1.9", "1.2.826.0.1.8")))[1][0] == 3
    assert context_results(answer(context_item(1, "1.2.826.0.1.9", "1.2.826.0.1.8"), supported=private))[1][0] == 0


def test_storage_tables_hold_what_a_patient_has_and_no_other_service() -> None:
    assert len(STORAGE_SOP_CLASSES) >= 190
    assert "1.2.840.10008.5.1.4.1.1.6" in STORAGE_SOP_CLASSES, "retired ultrasound"
    for other in ("1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1", FIND, VERIFICATION):
        assert other not in STORAGE_SOP_CLASSES


def test_answer_repeats_titles_and_says_who_we_are() -> None:
    body = answer(context_item(1, CT, EXPLICIT))
    assert body[:2] == b"\0\1"
    assert body[4:36] == b"VNA".ljust(16) + b"TEST".ljust(16)
    told = user_items(body)
    assert told[0x51] == struct.pack(">I", 65536)
    assert told[0x52].startswith(b"2.25.")
    assert len(told[0x55]) <= 16
    assert 0x53 not in told, "no window where none was proposed"


def test_window_is_one_and_one() -> None:
    told = user_items(answer(context_item(1, CT, EXPLICIT), user=item(0x53, struct.pack(">HH", 0, 0))))
    assert told[0x53] == struct.pack(">HH", 1, 1)


@pytest.mark.parametrize(
    ("scu", "scp", "result", "answered"), [(1, 0, 0, b"\1\0"), (1, 1, 0, b"\1\0"), (0, 1, 1, b"\0\0")]
)
def test_roles(scu: int, scp: int, result: int, answered: bytes) -> None:
    role = struct.pack(">H", len(CT)) + CT.encode() + bytes((scu, scp))
    body = answer(context_item(1, CT, EXPLICIT), user=item(0x54, role))
    assert context_results(body)[1][0] == result
    assert user_items(body)[0x54][-2:] == answered


def test_extended_negotiation_says_full_storage_without_coercion() -> None:
    asked = struct.pack(">H", len(CT)) + CT.encode() + bytes((3, 0, 0, 0, 2, 0))
    common = struct.pack(">H", len(CT)) + CT.encode() + struct.pack(">HH", 0, 0)
    told = user_items(answer(context_item(1, CT, EXPLICIT), user=item(0x56, asked) + item(0x57, common)))
    assert told[0x56] == asked[: 2 + len(CT)] + bytes((2, 0, 3, 0, 0, 0))
    assert 0x57 not in told


def test_user_identity_is_passed_over() -> None:
    identity = bytes((2, 1)) + struct.pack(">H", 4) + b"user" + struct.pack(">H", 4) + b"pass"
    assert 0x59 not in user_items(answer(context_item(1, CT, EXPLICIT), user=item(0x58, identity)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"version": 2}, (1, 2, 2)), ({"application": "1.2.3"}, (1, 1, 2)), ({"version": 3}, None)],
)
def test_protocol(changes: dict[str, object], reason: tuple[int, int, int] | None) -> None:
    rejection = check_protocol(parse_request(associate_rq(context_item(1, CT, EXPLICIT), **changes)))  # type: ignore[arg-type]
    assert (None if rejection is None else (rejection.result, rejection.source, rejection.reason)) == reason
    if rejection is not None:
        assert rejection.encode() == bytes((3, 0, 0, 0, 0, 4, 0, *reason))  # type: ignore[misc]


@pytest.mark.parametrize(
    "contexts",
    [
        (),
        (context_item(2, CT, EXPLICIT),),
        (context_item(1, CT, EXPLICIT), context_item(1, CT, IMPLICIT)),
        (item(0x20, b"\1"),),
        (b"\x20\0\xff\xff\1\0\0\0",),
    ],
)
def test_broken_requests_are_told(contexts: tuple[bytes, ...]) -> None:
    with pytest.raises(PduError):
        parse_request(associate_rq(*contexts))


def test_titles_and_addresses() -> None:
    settings = load_settings(
        dimse={
            "ae_title": "ARCHIVE",
            "accept_unknown": "never",
            "peers": {"CT1": {"addresses": ["10.1.0.0/16", "::1"]}, "MR1": {}},
        }
    )
    policy = AccessPolicy.configured(settings.dimse)

    def reason(calling: bytes, address: str, called: bytes = b"ARCHIVE") -> int | None:
        request = parse_request(associate_rq(context_item(1, CT, EXPLICIT), called=called, calling=calling))
        rejection = policy.check(request, address)
        return None if rejection is None else rejection.reason

    assert reason(b"CT1", "10.1.2.3") is None
    assert reason(b"CT1", "::ffff:10.1.2.3") is None
    assert reason(b"CT1", "::1") is None
    assert reason(b"CT1", "10.2.2.3") == 3
    assert reason(b"MR1", "192.0.2.1") is None
    assert reason(b"XX", "127.0.0.1") == 3
    assert reason(b"MR1", "192.0.2.1", called=b"archive") == 7


@pytest.mark.parametrize(("unknown", "near", "far"), [("loopback", None, 3), ("any", None, None), ("never", 3, 3)])
def test_unknown_callers(unknown: str, near: int | None, far: int | None) -> None:
    policy = AccessPolicy.configured(load_settings(dimse={"accept_unknown": unknown}).dimse)
    request = parse_request(associate_rq(context_item(1, CT, EXPLICIT)))
    for address, expected in (("127.0.0.1", near), ("::1", near), ("192.0.2.1", far)):
        rejection = policy.check(request, address)
        assert (None if rejection is None else rejection.reason) == expected


def test_an_address_that_is_none_names_the_setting() -> None:
    settings = load_settings(dimse={"peers": {"CT1": {"addresses": ["ct1.example"]}}})
    with pytest.raises(ConfigurationError, match=r"dimse\.peers\.CT1\.addresses"):
        AccessPolicy.configured(settings.dimse)
