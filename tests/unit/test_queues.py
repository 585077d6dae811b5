"""Every queue has a worker: in ``vna up``, in compose and in the documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instances import make_settings
from vna.cli.up import _parts
from vna.config import Settings
from workers import beat
from workers.routing import disposable_queues, ingest_queues, keeper_queues, large_queues, queue_names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "data", queue={"workers": 2})


def served(command: list[str]) -> list[str]:
    """Return the queues of a worker's command line."""
    if "worker" not in command:
        return []
    return command[command.index("--queues") + 1].split(",")


def of_beat(settings: Settings) -> set[str]:
    return {order["options"]["queue"] for order in beat.schedule(settings).values()}


def test_the_kinds_of_workers_serve_every_queue_and_share_none(settings: Settings) -> None:
    kinds = [ingest_queues(settings), large_queues(settings), keeper_queues(settings)]
    together = [name for kind in kinds for name in kind]
    assert sorted(together) == sorted(queue_names(settings))
    assert len(set(together)) == len(together)


def test_vna_up_serves_every_queue_and_the_keeper_alone_what_comes_by_the_clock(settings: Settings) -> None:
    by_part = {part.name: served(list(part.command)) for part in _parts(settings)}
    workers = {name: queues for name, queues in by_part.items() if queues}
    assert set(workers) == {"worker-1", "worker-2", "large", "keeper"}
    assert {name for queues in workers.values() for name in queues} == set(queue_names(settings))
    assert of_beat(settings) <= set(workers["keeper"])
    assert not set(workers["keeper"]) & {*workers["worker-1"], *workers["worker-2"], *workers["large"]}


def test_what_may_be_dropped_is_of_this_spool_alone(settings: Settings) -> None:
    assert all(name.endswith(".main") for name in disposable_queues(settings))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())
    return found


def test_compose_serves_every_queue(compose: dict[str, Any], settings: Settings) -> None:
    queues: dict[str, list[str]] = {}
    for name, service in compose["services"].items():
        command = str(service.get("command", "")).replace("${VNA_SPOOL_ID:-main}", "main")
        queues[name] = served(command.split())
    together = [queue for served_ in queues.values() for queue in served_]
    assert sorted(together) == sorted(queue_names(settings))
    # Scaled, slow, or behind a backlog: none of these may keep what comes by the clock waiting.
    (keeper,) = [name for name, served_ in queues.items() if set(served_) & of_beat(settings)]
    assert not set(queues[keeper]) & {*ingest_queues(settings), *large_queues(settings)}


def test_compose_keeps_what_outlives_a_container_on_named_volumes(compose: dict[str, Any]) -> None:
    environment = compose["x-archive"]["environment"]
    data = Path(environment["VNA_DATA"])
    # The spool and the audit trail are records until they are in the object store; all see one another's signs of life.
    spool = Path(environment["VNA_SPOOL__PATH"])
    audit = Path(environment.get("VNA_AUDIT__PATH", data / "audit"))
    archives = [name for name, service in compose["services"].items() if service.get("image") == "vna:latest"]
    assert {"dimse", "http", "worker", "large", "keeper", "beat"} <= set(archives)
    for name in archives:
        mounts = dict(reversed(volume.split(":")) for volume in compose["services"][name]["volumes"])
        for folder in (spool, audit, data / "run"):
            assert mounts.get(str(folder)) in compose["volumes"], (name, folder)


def test_the_image_has_the_folders_of_the_volumes(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    # A volume takes its owner from the folder of the image; without one it is root's, and nothing can be written.
    made = re.findall(r"/var/lib/vna/\w+", dockerfile.partition("mkdir -p")[2].partition("&&")[0])
    assert {volume.split(":")[1] for volume in compose["x-archive"]["volumes"]} <= set(made)


@pytest.mark.parametrize(("page", "spool"), [("how-to/scale-out.md", "a"), ("architecture.md", "main")])
def test_the_commands_of_the_documents_serve_every_queue(tmp_path: Path, page: str, spool: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(r"^celery .*workers\.app worker (?:-Q|--queues) (\S+)", text, re.MULTILINE)
    wanted = queue_names(make_settings(tmp_path, spool={"id": spool}))
    assert sorted(name for queues in found for name in queues.split(",")) == sorted(wanted)
