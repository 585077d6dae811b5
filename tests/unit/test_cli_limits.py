"""Limits as they are given at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vna.cli import key, user
from vna.domain.errors import InvalidInputError


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("VNA_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def ran(runner: CliRunner, *arguments: str) -> Result:
    command = {"user": user.command, "key": key.command}[arguments[0]]
    return runner.invoke(command, arguments[1:], catch_exceptions=True)


def test_a_user_is_limited_listed_with_it_and_no_longer(said: CliRunner) -> None:
    only = ("--only", "IssuerOfPatientID=HOSP-A", "--only", "InstitutionalDepartmentName=Cardiology")
    assert "one-time password" in ran(said, "user", "add", "ann", "--role", "viewer", *only).output
    listed = ran(said, "user", "list").output
    assert "InstitutionalDepartmentName=Cardiology" in listed
    assert "IssuerOfPatientID=HOSP-A" in listed
    assert "ann sees Modality=CT now" in ran(said, "user", "only", "ann", "Modality=ct").output
    listed = ran(said, "user", "list").output
    assert "Modality=CT" in listed
    assert "HOSP-A" not in listed
    for wrong in ((), ("Modality=CT", "--everything")):
        assert ran(said, "user", "only", "ann", *wrong).exit_code == 2
    assert "ann sees everything now" in ran(said, "user", "only", "ann", "--everything").output
    assert "Modality" not in ran(said, "user", "list").output


def test_a_key_is_limited_and_what_cannot_be_kept_is_refused(said: CliRunner) -> None:
    assert ran(said, "key", "add", "echo-lab", "--role", "viewer", "--only", "Modality=US").output.startswith("vna_")
    assert "Modality=US" in ran(said, "key", "list").output
    refused = ran(said, "key", "add", "other", "--role", "viewer", "--only", "Modality=U*")
    assert isinstance(refused.exception, InvalidInputError)
    assert "other" not in ran(said, "key", "list").output
