"""Reporting to application entities that agree to our role, say nothing of roles, or take no reports at all."""

from __future__ import annotations

from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.support.modality import Modality, modality
from tests.support.ports import free_port
from vna.commitment.decision import Result
from vna.commitment.report import event_report
from vna.commitment.request import Reference, Request
from vna.config import load_settings
from vna.domain.errors import NotFoundError, UnavailableError
from vna.peers.commitment import CommitmentPeers

CT = "1.2.840.10008.5.1.4.1.1.2"
REQUEST = Request("CT01", "", "1.2.3", (Reference(CT, "1.2.1"), Reference(CT, "1.2.2")), 0)


def peers(*, port: int) -> CommitmentPeers:
    settings: dict[str, Any] = {"peers": {"CT01": {"host": "127.0.0.1", "port": port}, "CALLER": {}}}
    return CommitmentPeers(load_settings(dimse=settings).dimse, 10)


def report(to: Modality) -> tuple[int, bool]:
    with peers(port=to.port).connect("CT01") as association:
        kind, information = event_report(REQUEST, Result({1: 0x0112}), "VNA")
        return association.report(kind, information), association.is_scp


@pytest.mark.parametrize(
    ("roles", "agreed"),
    [
        ({"scu_role": False, "scp_role": True}, True),
        ({"scu_role": True, "scp_role": True}, True),
        ({"scu_role": None, "scp_role": None}, False),  # accepts the context and does not answer for the role
        ({"scu_role": True, "scp_role": False}, False),  # rejects the context, or the role
    ],
)
def test_both_forms(roles: dict[str, Any], agreed: bool) -> None:
    with modality(**roles) as found:
        assert report(found) == (0x0000, agreed)
        (told,) = found.told
    assert (told.event_type, told.committed, told.failed) == (2, ("1.2.1",), {"1.2.2": 0x0112})


def test_several_reports_on_one_association() -> None:
    with modality() as found, peers(port=found.port).connect("CT01") as association:
        kind, information = event_report(REQUEST, Result({}), "VNA")
        assert [association.report(kind, information) for _ in range(3)] == [0, 0, 0]
        found.status = 0x0110
        assert association.report(kind, information) == 0x0110


def test_who_takes_no_reports() -> None:
    port = free_port()
    ae = AE("CT01")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", port), block=False)
    try:
        with (
            pytest.raises(UnavailableError, match="storage commitment in neither role"),
            peers(port=port).connect("CT01"),
        ):
            raise AssertionError
    finally:
        server.shutdown()
    with pytest.raises(UnavailableError, match="no connection"), peers(port=port).connect("CT01"):
        raise AssertionError


@pytest.mark.parametrize("title", ["CALLER", "UNKNOWN"])
def test_who_has_no_address(title: str) -> None:
    with pytest.raises(NotFoundError, match="no peer with a host"), peers(port=1).connect(title):
        raise AssertionError
