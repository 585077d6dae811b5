"""The command line against a running archive: what a person does with it, and what the supervisor does by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.archive import RunningArchive, running_archive
from tests.support.instances import digest_of, part10
from tests.support.ports import answers, free_port, wait_until
from tests.support.sending import data_set, dcmsend, store_raw
from vna.bootstrap import Archive
from vna.config import load_settings

VNA = Path(sys.executable).parent / "vna"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VNA, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=90, check=False
    )


def status(archive: RunningArchive) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.vna("status", "--json", check=False))
    return found


def test_echo_answers_and_a_rejection_tells_its_reason(archive: RunningArchive) -> None:
    assert f"VNA at 127.0.0.1:{archive.dimse_port} answers (" in archive.vna("echo")
    refused = run(archive.environment, "echo", f"WRONG@127.0.0.1:{archive.dimse_port}")
    assert refused.returncode == 1
    assert "rejected (" in refused.stderr
    assert "Called AE title not recognised" in refused.stderr


def test_a_second_up_on_the_same_data_is_refused(archive: RunningArchive) -> None:
    ports = {"VNA_DIMSE__PORT": str(free_port()), "VNA_HTTP__PORT": str(free_port())}
    second = run(archive.environment | ports, "up")
    assert second.returncode == 1
    assert "an archive is running already in" in second.stderr
    assert answers("127.0.0.1", archive.dimse_port)


def test_status_as_json_counts_what_is_there(archive: RunningArchive, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(1, study=77))
    assert "with status SUCCESS" in dcmsend(archive.dimse_port, [path])
    archive.wait_idle()
    alive = ("keeper", "workers", "large")
    wait_until(lambda: all(status(archive)[name]["ok"] for name in alive), 60)
    found = status(archive)
    assert all(found[name]["ok"] for name in ("dimse", "http", "broker", *alive, "objects", "index"))
    assert found["index"]["instances"] >= 1
    assert found["spool"]["entries"] == 0


def test_what_cannot_be_stored_is_listed_shown_retried_and_dropped(archive: RunningArchive, tmp_path: Path) -> None:
    # Complete but for its Study Instance UID, which no archive can do without.
    data = part10(5, study=78).replace(b"\x20\x00\x0d\x00UI", b"\x20\x00\x0c\x00UI")
    path = tmp_path / "no-study.dcm"
    path.write_bytes(data)
    assert store_raw(archive.dimse_port, [path]) == {path: 0}
    wait_until(archive.quarantined, 60, "it is in quarantine")
    (item,) = archive.quarantined()
    assert "0020,000D" in item["reason"]
    assert item["origin"]["calling"] == "TESTSCU"
    assert item["id"] in archive.vna("quarantine", "list")
    shown = archive.vna("quarantine", "show", item["id"][:6])
    kept = Path(shown.splitlines()[-1].removeprefix("bytes: "))
    assert digest_of(data_set(kept.read_bytes())) == digest_of(data_set(data))
    assert "is in the spool again" in archive.vna("quarantine", "retry", item["id"])
    first = item["id"]
    # What is given back is an entry of its own.
    wait_until(lambda: [one for one in archive.quarantined() if one["id"] != first], 60, "it is back in quarantine")
    wait_until(lambda: len(archive.quarantined()) == 1, 60, "the first has left")
    (item,) = archive.quarantined()
    declined = run(archive.environment, "quarantine", "drop", item["id"])
    assert declined.returncode == 2
    assert "--reason" in declined.stderr
    archive.vna("quarantine", "drop", item["id"], "--reason", "a test", "--yes")
    assert archive.quarantined() == []
    unknown = run(archive.environment, "quarantine", "show", item["id"])
    assert unknown.returncode == 1
    assert "nothing in quarantine" in unknown.stderr


def test_a_killed_part_is_started_again_and_nothing_is_lost(archive: RunningArchive, tmp_path: Path) -> None:
    for mark, port in (("vna.gateways.dimse", archive.dimse_port), ("vna.gateways.dicomweb", archive.http_port)):
        (part,) = archive.parts(mark)
        part.kill()
        part.wait(10)
        wait_until(partial(answers, "127.0.0.1", port), 30, f"{mark} answers again")
        assert [each.pid for each in archive.parts(mark)] != [part.pid]
    assert "dimse ended with code -9; starting it again in" in archive.log.read_text()
    worker = archive.parts("workers.app")[0]
    path = tmp_path / "after.dcm"
    path.write_bytes(part10(1, study=79))
    worker.kill()
    worker.wait(10)
    assert "with status SUCCESS" in dcmsend(archive.dimse_port, [path])
    wait_until(lambda: archive.qido("instances", StudyInstanceUID="1.2.3.79"), 60, "the new worker stored it")


def test_spool_lists_what_waits_while_the_worker_stands_still(archive: RunningArchive, tmp_path: Path) -> None:
    workers = archive.parts("workers.app")
    for worker in workers:
        worker.suspend()
    try:
        path = tmp_path / "waits.dcm"
        path.write_bytes(part10(1, study=80))
        assert "with status SUCCESS" in dcmsend(archive.dimse_port, [path])
        lines = archive.vna("spool").splitlines()
        assert lines[-1].startswith("1 entries, ")
        assert "dimse DCMSEND@127.0.0.1" in lines[0]
    finally:
        for worker in workers:
            worker.resume()
    archive.wait_idle()
    assert archive.vna("spool") == "0 entries, 0 B\n"


def test_what_is_large_keeps_neither_the_small_nor_the_sweeps_waiting(archive: RunningArchive, tmp_path: Path) -> None:
    busy = archive.parts("ingest-large.main")
    assert busy
    for worker in busy:
        worker.suspend()
    try:
        path = tmp_path / "small.dcm"
        path.write_bytes(part10(1, study=81))
        assert "with status SUCCESS" in dcmsend(archive.dimse_port, [path])
        wait_until(lambda: archive.qido("instances", StudyInstanceUID="1.2.3.81"), 30, "the small one is stored")
        swept = (archive.data / "spool" / "sweep.json").read_text()
        wait_until(lambda: (archive.data / "spool" / "sweep.json").read_text() != swept, 30, "another sweep")
    finally:
        for worker in busy:
            worker.resume()


def test_a_killed_load_goes_on_where_it_was(archive: RunningArchive, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    total = 1500
    for number in range(1, total + 1):
        (tree / f"{number:05d}.dcm").write_bytes(part10(number, study=81))
    loading = subprocess.Popen(
        [VNA, "load", str(tree)],
        env=os.environ | archive.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    notes = archive.data / "run" / "loads"
    wait_until(lambda: any(path.stat().st_size > 0 for path in notes.glob("*.jsonl")), 60, "a batch is done")
    loading.send_signal(signal.SIGKILL)
    assert loading.wait() == -signal.SIGKILL
    said = archive.vna("load", str(tree))
    before = next(line for line in said.splitlines() if "by an earlier run" in line)
    assert 0 < int(before.split()[0]) < total
    archive.wait_idle(partial=False)
    assert len(archive.qido("instances", StudyInstanceUID="1.2.3.81", limit="5000")) == total
    assert not list(notes.glob("*.jsonl"))


def test_a_part_that_cannot_start_ends_all_with_its_own_words(tmp_path: Path) -> None:
    ports = {"VNA_DIMSE__PORT": str(free_port()), "VNA_HTTP__PORT": str(free_port())}
    broken = {"VNA_DATA": str(tmp_path / "data"), "VNA_HTTP__TLS__CERTIFICATE": str(tmp_path / "no.pem")}
    begin = time.monotonic()
    done = run(ports | broken | {"VNA_HTTP__TLS__KEY": str(tmp_path / "no.key")}, "up")
    assert done.returncode == 1
    assert "http ended with code 1" in done.stderr
    assert "VNA_HTTP__TLS" in done.stderr
    assert not answers("127.0.0.1", int(ports["VNA_DIMSE__PORT"]))
    assert time.monotonic() - begin < 60


def test_the_console_is_for_a_person_and_quiet_leaves_it_to_files(tmp_path: Path) -> None:
    with running_archive(tmp_path / "loud") as loud:
        assert loud.stop() == 0
    said = loud.log.read_text()
    assert "dimse   | " in said
    assert "SecurityWarning" not in said
    assert "valkey  |" not in said
    quiet = RunningArchive(tmp_path / "quiet", VNA_HTTP__ALLOW_ANONYMOUS="never")
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen([VNA, "up", "--quiet"], env=os.environ | quiet.environment, stdout=out, stderr=out)
    try:
        wait_until(lambda: "Ctrl-C stops" in (tmp_path / "out").read_text(), 60, "it is up")
        the_way_in_is_as_it_is_told((tmp_path / "out").read_text(), quiet)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert " | " not in (tmp_path / "out").read_text()
    assert "listens on" in (tmp_path / "quiet" / "run" / "logs" / "dimse.log").read_text()


def the_way_in_is_as_it_is_told(said: str, archive: RunningArchive) -> None:
    """What is printed can be typed: the page and its one-time password, the command for a key, the search with it."""
    [password] = re.findall(r"as admin with the one-time password (\S+)", said)
    user = Archive(load_settings(data=archive.data)).accounts.sign_in("admin", password)
    assert user is not None
    assert user.must_change
    [page] = re.findall(r"http://\S+/ui/$", said, re.MULTILINE)
    sign_in = httpx.get(page, headers={"Accept": "text/html"}, follow_redirects=True, trust_env=False)
    assert (sign_in.status_code, "Sign in" in sign_in.text) == (200, True)
    assert httpx.get(f"{archive.web}/studies", trust_env=False).status_code == 401
    [key, search] = re.findall(r"^  (KEY=.*|curl .*)$", said, re.MULTILINE)
    script = f"set -e; {key}; {search} --silent --show-error --noproxy '*' --write-out '%{{http_code}}'"
    environment = os.environ | archive.environment
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "204", done.stderr
