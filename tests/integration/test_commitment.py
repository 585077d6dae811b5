"""Storage commitment through real processes: a gateway, a worker and a beat, and pynetdicom as the modality."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from tests.support.archive import RunningArchive, running_archive
from tests.support.dimse_services import part10
from tests.support.modality import Modality, ct, modality
from tests.support.ports import wait_until
from vna.domain.query import Selector

CT, MR = str(CTImageStorage), str(MRImageStorage)


class Site:
    """An archive, and the modalities that it knows."""

    def __init__(self, archive: RunningArchive, agreeing: Modality, silent: Modality, mute: Modality) -> None:
        self.archive = archive
        self.agreeing = agreeing
        self.silent = silent
        self.mute = mute


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with modality() as first, modality("OLD", scu_role=True, scp_role=False) as second, modality("NOLISTEN") as third:
        peers = first.peer | second.peer
        environment = {"VNA_DIMSE__PEERS": json.dumps(peers), "VNA_COMMITMENT__CHECK_SECONDS": "1"}
        with running_archive(tmp_path_factory.mktemp("site") / "data", **environment) as archive:
            yield Site(archive, first, second, third)


def keep(site: Site, *numbers: int) -> list[str]:
    """Have instances stored, and return their UIDs."""
    files = [part10(7, 1, number) for number in numbers]
    with site.agreeing.associate(site.archive.dimse_port, CT) as assoc:
        site.agreeing.store(assoc, *files)
    site.archive.wait_idle()
    for each in (site.agreeing, site.silent, site.mute):
        each.told.clear()
    return [f"1.2.3.7.1.{number}" for number in numbers]


def test_it_is_told_on_the_same_association(site: Site) -> None:
    uids = keep(site, 1, 2, 3)
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        transaction = site.agreeing.ask(assoc, ct(*uids))
        (told,) = site.agreeing.wait()
    assert (told.event_type, told.transaction, told.same) == (1, transaction, True)
    assert (told.committed, told.failed, told.retrieve) == (tuple(uids), {}, "VNA")
    listed = site.archive.vna("commitment", "list", "--all")
    assert "delivered" in listed


def test_it_stores_and_asks_on_one_association(site: Site) -> None:
    files = [part10(8, 1, number) for number in range(1, 31)]
    uids = [f"1.2.3.8.1.{number}" for number in range(1, 31)]
    site.agreeing.told.clear()
    with site.agreeing.associate(site.archive.dimse_port, CT) as assoc:
        site.agreeing.store(assoc, *files)
        site.agreeing.ask(assoc, ct(*uids))
        # It goes on: what is told comes between, or on an association of the archive's.
        site.agreeing.store(assoc, part10(8, 1, 31))
    (told,) = site.agreeing.wait()
    assert (told.event_type, set(told.committed)) == (1, set(uids))


def test_who_releases_at_once_is_told_on_another_association(site: Site) -> None:
    uids = keep(site, 1, 2)
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        transaction = site.agreeing.ask(assoc, [*ct(*uids), *ct("1.2.3.7.404")])
        assoc.release()
    (told,) = site.agreeing.wait()
    assert (told.event_type, told.transaction) == (2, transaction)
    assert (told.committed, told.failed) == (tuple(uids), {"1.2.3.7.404": 0x0112})


def test_a_peer_that_knows_no_roles_is_told(site: Site) -> None:
    uids = keep(site, 1)
    with site.silent.associate(site.archive.dimse_port) as assoc:
        site.silent.ask(assoc, ct(*uids), "1.2.3.4.1")
        assoc.abort()
    (told,) = site.silent.wait()
    assert (told.committed, told.same) == (tuple(uids), False)


@pytest.mark.parametrize(
    ("sop_class", "uid", "reason"),
    [(MR, "1.2.3.7.1.1", 0x0119), (CT, "1.2.3.7.405", 0x0112), ("1.2.3.4.5.6", "1.2.3.7.406", 0x0122)],
)
def test_why_an_instance_is_not_committed(site: Site, sop_class: str, uid: str, reason: int) -> None:
    keep(site, 1)
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        site.agreeing.ask(assoc, [(sop_class, uid)])
        (told,) = site.agreeing.wait()
    assert (told.event_type, told.failed) == (2, {uid: reason})


def test_an_object_that_is_gone_behind_the_index(site: Site) -> None:
    (uid,) = keep(site, 50)
    archive = site.archive.open()
    (location,) = archive.index.locate(Selector(instances=(uid,)))
    (site.archive.data / "objects" / location.key).unlink()
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        site.agreeing.ask(assoc, ct(uid))
        (told,) = site.agreeing.wait()
    assert told.failed == {uid: 0x0112}
    archive.close()


def test_an_object_of_another_length_than_was_stored(site: Site) -> None:
    (uid,) = keep(site, 51)
    archive = site.archive.open()
    (location,) = archive.index.locate(Selector(instances=(uid,)))
    path = site.archive.data / "objects" / location.key
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-10])
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        site.agreeing.ask(assoc, ct(uid))
        (told,) = site.agreeing.wait()
    assert told.failed == {uid: 0x0110}
    archive.close()


def test_a_repetition_is_told_again_and_another_request_is_a_duplicate(site: Site) -> None:
    uids = keep(site, 1, 2)
    for number in (1, 2):
        with site.agreeing.associate(site.archive.dimse_port) as assoc:
            site.agreeing.ask(assoc, ct(*uids), "1.2.3.4.2")
            site.agreeing.wait(number)
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        site.agreeing.ask(assoc, ct(uids[0]), "1.2.3.4.2")
        first, second, third = site.agreeing.wait(3)
    assert (first.committed, second.committed) == (tuple(uids), tuple(uids))
    assert (third.event_type, third.failed) == (2, {uids[0]: 0x0131})


def test_who_has_no_address_is_kept_in_the_list(site: Site) -> None:
    uids = keep(site, 1)
    with site.mute.associate(site.archive.dimse_port) as assoc:
        site.mute.ask(assoc, ct(*uids), "1.2.3.4.3")
        assoc.release()
    wait_until(lambda: "no peer with a host" in site.archive.vna("commitment", "list"), 30)
    shown = site.archive.vna("commitment", "show", "1.2.3.4.3")
    assert "1 instances committed" in shown
    site.archive.vna("commitment", "drop", "1.2.3.4.3", "--reason", "it is gone")
    assert "NOLISTEN" not in site.archive.vna("commitment", "list")
    assert "it is gone" in site.archive.vna("commitment", "list", "--all")


def test_a_peer_that_is_down_or_refuses_is_told_later(site: Site) -> None:
    uids = keep(site, 1)
    site.agreeing.deaf()
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        transaction = site.agreeing.ask(assoc, ct(*uids))
        assoc.release()
    wait_until(lambda: "no connection" in site.archive.vna("commitment", "list"), 30)
    site.agreeing.status = 0x0110
    site.agreeing.listen()
    site.archive.vna("commitment", "retry", transaction)
    site.agreeing.wait()
    wait_until(lambda: "answers the report with 0110" in site.archive.vna("commitment", "list"), 30)
    site.agreeing.status = 0x0000
    site.archive.vna("commitment", "retry", "--all")
    assert [told.transaction for told in site.agreeing.wait(2)] == [transaction] * 2
    wait_until(lambda: transaction[:20] not in site.archive.vna("commitment", "list", "--json"), 30)


@pytest.mark.parametrize(
    ("odd", "references", "transaction", "status"),
    [
        ({"action": 2}, [(CT, "1.2.3")], "1.2.3.4", 0x0123),
        ({"instance": "1.2.3"}, [(CT, "1.2.3")], "1.2.3.4", 0x0112),
        ({}, [], "1.2.3.4", 0x0115),
        ({}, [(CT, "1.2.3")], "", 0x0115),
        ({}, [(CT, "")], "1.2.3.4", 0x0115),
        ({}, [(CT, f"1.2.{number}") for number in range(50_001)], "1.2.3.4", 0x0213),
        ({}, [(CT, f"1.2.{'1' * 50}.{number}") for number in range(70_000)], "1.2.3.4", 0x0213),
    ],
)
def test_what_is_refused(
    site: Site, odd: dict[str, Any], references: list[tuple[str, str]], transaction: str, status: int
) -> None:
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        assert site.agreeing.status_of(assoc, references, transaction, **odd) == status
        # The association goes on.
        assert site.agreeing.status_of(assoc, [], "1.2.3.4") == 0x0115


def test_tens_of_thousands_of_references(site: Site) -> None:
    uids = keep(site, 1)
    many = [*uids, *(f"1.2.{'1' * 40}.{number}" for number in range(30_000))]
    with site.agreeing.associate(site.archive.dimse_port) as assoc:
        site.agreeing.ask(assoc, ct(*many))
        assoc.release()
    (told,) = site.agreeing.wait(seconds=120)
    assert told.committed == tuple(uids)
    assert len(told.failed) == 30_000


def test_it_is_in_the_audit_trail(site: Site) -> None:
    found = site.archive.vna("audit", "list")
    assert "storage commitment asked for" in found
    assert "committed, 0 not; reported" in found
