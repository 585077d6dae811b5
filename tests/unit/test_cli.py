"""The command line as a newcomer meets it: help, and errors that say what to do. Needs no service."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.instances import part10
from vna.cli.rotating import RotatingLog
from vna.domain.quantities import age, size

VNA = Path(sys.executable).parent / "vna"
COMMANDS = (
    "up",
    "status",
    "load",
    "echo",
    "spool",
    "quarantine",
    "commitment",
    "deletion",
    "reindex",
    "verify",
    "audit",
    "user",
    "key",
    "ohif",
    "share",
    "config",
)


def vna(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VNA_")}
    return subprocess.run(
        [VNA, *arguments],
        env=clean | {"VNA_DATA": str(data), "VNA_SPOOL__MIN_FREE_BYTES": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_command_with_what_it_does(tmp_path: Path) -> None:
    done = vna(tmp_path, "--help")
    assert done.returncode == 0
    lines = done.stdout.partition("Commands:")[2].splitlines()
    # What stands further in goes on with the text of the line before.
    listed = [line.split(maxsplit=1) for line in lines if re.match(r"  \S", line)]
    assert [name for name, _ in listed[: len(COMMANDS)]] == list(COMMANDS)
    assert all(len(text) > 20 for _, text in listed[: len(COMMANDS)])


@pytest.mark.parametrize(
    "command",
    [
        "",
        *COMMANDS,
        *(f"quarantine {name}" for name in ("list", "show", "retry", "drop")),
        *(f"commitment {name}" for name in ("list", "show", "retry", "drop")),
        *(f"deletion {name}" for name in ("list", "withdraw")),
        *(f"audit {name}" for name in ("list", "verify", "export", "seal")),
    ],
)
def test_help_of_each_command_is_there_and_quick(tmp_path: Path, command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = vna(tmp_path, *command.split(), "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    # Half a second on an idle machine; whoever imports a client of a service here takes two.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_named_with_its_variable(tmp_path: Path) -> None:
    done = vna(tmp_path, "status", VNA_DIMSE__PORT="ninety", VNA_STORE__KIND="tape")
    assert done.returncode == 1
    assert "VNA_DIMSE__PORT" in done.stderr
    assert "VNA_STORE__KIND" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = vna(tmp_path, "load", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("command", ["up", "spool", "load /etc/hosts", "status"])
def test_a_data_folder_that_cannot_be_made_is_named(command: str) -> None:
    done = vna(Path("/proc/nowhere"), *command.split())
    assert done.returncode == 1
    assert "/proc/nowhere" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_links_are_not_followed_and_that_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "link.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    (tmp_path / "elsewhere.dcm").write_bytes(part10())
    done = vna(tmp_path / "data", "load", str(folder))
    assert "links are not followed" in done.stderr


@pytest.mark.parametrize("variable", ["VNA_DIMSE__PORT", "VNA_HTTP__PORT"])
def test_up_names_the_setting_of_a_port_in_use(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        free = str(other.getsockname()[1])
        other.close()
        ports = {"VNA_DIMSE__PORT": free, "VNA_HTTP__PORT": free} | {variable: str(taken.getsockname()[1])}
        done = vna(tmp_path / "data", "up", **ports)
    assert done.returncode == 1
    assert f"set {variable}" in done.stderr


def test_echo_to_a_closed_port_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = vna(tmp_path, "echo", f"PACS@127.0.0.1:{port}")
    assert done.returncode == 1
    assert f"PACS at 127.0.0.1:{port}: no connection" in done.stderr


def test_echo_to_an_unknown_peer_lists_the_known(tmp_path: Path) -> None:
    done = vna(tmp_path, "echo", "NOBODY", VNA_DIMSE__PEERS='{"CT01": {"host": "127.0.0.1", "port": 1}}')
    assert done.returncode == 2
    assert "NOBODY" in done.stderr
    assert "CT01" in done.stderr


@pytest.mark.parametrize("peer", ["PACS@host", "PACS@host:port", "@127.0.0.1:104", "PACS@127.0.0.1:99999"])
def test_echo_to_a_malformed_address_says_how_it_is_written(tmp_path: Path, peer: str) -> None:
    done = vna(tmp_path, "echo", peer)
    assert done.returncode == 2
    assert "AETITLE@HOST:PORT" in done.stderr


def test_spool_and_quarantine_of_a_new_archive_are_empty(tmp_path: Path) -> None:
    assert vna(tmp_path / "data", "spool").stdout == "0 entries, 0 B\n"
    assert vna(tmp_path / "data", "quarantine", "list").stdout == "nothing is in quarantine\n"
    assert vna(tmp_path / "data", "quarantine", "list", "--json").stdout == ""


def test_status_of_an_archive_that_does_not_run_says_what_is_missing(tmp_path: Path) -> None:
    done = vna(tmp_path / "data", "status", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {name for name, part in found.items() if not part["ok"]} == {
        "dimse",
        "http",
        "broker",
        "keeper",
        "workers",
        "large",
    }
    assert found["index"]["instances"] == 0


def test_load_counts_and_names_what_became_of_each_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "one.dcm").write_bytes(part10(1))
    (tree / "two.dcm").write_bytes(part10(2))
    (tree / "deep" / "one again.dcm").write_bytes(part10(1))
    (tree / "deep" / "er" / "other pixels.dcm").write_bytes(part10(1, pixels=b"\1" * 128))
    (tree / "broken.dcm").write_bytes(part10(3)[:150])
    (tree / "notes.txt").write_text("not an image\n" * 30)
    done = vna(tmp_path / "data", "load", str(tree))
    assert done.returncode == 1, done.stderr
    first, second, *rest = done.stdout.splitlines()
    assert first.startswith("2 stored, 1 duplicate, 1 quarantined (")
    assert second.startswith("1 stored in conflict")
    assert any(line.startswith(f"  {tree / 'broken.dcm'}: ") for line in rest)
    assert rest[-2:] == ["not DICOM, skipped:", f"  {tree / 'notes.txt'}"]
    again = vna(tmp_path / "data", "load", str(tree))
    assert again.stdout.startswith("0 stored, 4 duplicate, 1 quarantined ("), again.stdout
    listed = vna(tmp_path / "data", "quarantine", "list", "--json").stdout.splitlines()
    assert len(listed) == 1


def test_sizes_and_ages_are_for_people() -> None:
    assert [size(count) for count in (0, 1023, 1024, 3 << 30, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 GiB",
        "5.0 TiB",
    ]
    assert [age(seconds) for seconds in (3, 180, 7200, 864_000)] == ["3 s", "3 min", "2 h", "10 d"]


def test_a_log_rotates_and_keeps_a_few(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "part.log", most_bytes=100, kept=2)
    for number in range(50):
        log.write(b"line %02d of the log\n" % number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.log", "part.log.1", "part.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "part.log").read_text().endswith("line 49 of the log\n")
    reopened = RotatingLog(tmp_path / "part.log", most_bytes=100, kept=2)
    reopened.write(b"x" * 99 + b"\n")
    reopened.close()
    assert (tmp_path / "part.log").read_bytes() == b"x" * 99 + b"\n"
