from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from vna import observability
from vna.config import LogSettings


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail(secret: str) -> None:
    raise ValueError("it broke")


def emit() -> None:
    structlog.get_logger("vna.test").info("stored", count=3)
    structlog.get_logger("vna.test").debug("not at info")
    logging.getLogger("library").warning("from %s", "a library")
    logging.getLogger("celery.app.trace").info("chatter")
    try:
        fail("Doe^Jane")
    except ValueError:
        structlog.get_logger("vna.test").exception("failed")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    observability.configure(LogSettings(format="json"))
    emit()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["stored", "from a library", "failed"]
    assert lines[0]["count"] == 3
    assert lines[0]["level"] == "info"
    assert lines[0]["logger"] == "vna.test"
    assert lines[0]["timestamp"].endswith("Z")
    assert lines[2]["exception"][0]["exc_value"] == "it broke"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_local_variable_is_logged(capsys: pytest.CaptureFixture[str], form: str) -> None:
    observability.configure(LogSettings(format=form))  # type: ignore[arg-type]
    emit()
    written = capsys.readouterr().err
    assert "it broke" in written
    # The call is shown, in the source line; the value of the parameter is not.
    assert "secret" not in written.replace("secret: str", "")


def test_console_is_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    observability.configure(LogSettings())
    observability.configure(LogSettings())
    emit()
    written = capsys.readouterr().err
    assert written.count("stored") == 1
    assert "count=3" in written
    assert "not at info" not in written


def test_metrics_are_in_prometheus_text_format() -> None:
    observability.committed_total.labels("stored").inc(2)
    text = observability.exposition().decode()
    assert 'vna_committed_total{outcome="stored"}' in text
    assert "# TYPE vna_commit_seconds histogram" in text
