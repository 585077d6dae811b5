"""Settings: every wrong value is named, every setting is documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from vna.cli.config import markdown, variable, walk
from vna.config import Settings, load_settings
from vna.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def test_defaults_listen_on_loopback_only() -> None:
    settings = Settings.model_construct()
    assert settings.dimse.host == settings.http.host == "127.0.0.1"
    assert settings.dimse.accept_unknown == "loopback"


def test_nobody_is_answered_over_http_without_credentials_by_default() -> None:
    assert Settings.model_construct().http.allow_anonymous == "never"


def test_every_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_DIMSE__PORT", "eleven")
    monkeypatch.setenv("VNA_DIMSE__AE_TITLE", "MUCH TOO LONG AN AE TITLE")
    monkeypatch.setenv("VNA_STORE__KIND", "tape")
    monkeypatch.setenv("VNA_SPOOL__NONSENSE", "1")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    for name in ("VNA_DIMSE__PORT", "VNA_DIMSE__AE_TITLE", "VNA_STORE__KIND", "VNA_SPOOL__NONSENSE"):
        assert name in text
    assert "eleven" in text
    assert "tape" in text


def test_broken_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_DIMSE__PEERS", "{not json")
    with pytest.raises(ConfigurationError, match=r"(?i)peers|dimse"):
        load_settings()


def test_secrets_are_not_shown_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_STORE__SECRET_KEY", "hunter2")
    monkeypatch.setenv("VNA_STORE__CONCURRENCY", "0")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_file_gives_values_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vna.toml"
    file.write_text('[dimse]\nport = 104\nae_title = "ARCHIVE"\n[dimse.peers.CT01]\nhost = "10.0.0.21"\n')
    monkeypatch.setenv("VNA_CONFIG", str(file))
    monkeypatch.setenv("VNA_DIMSE__PORT", "105")
    settings = load_settings()
    assert settings.dimse.port == 105
    assert settings.dimse.ae_title == "ARCHIVE"
    assert settings.dimse.peers["CT01"].host == "10.0.0.21"


def test_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load_settings()


def test_file_that_is_no_toml_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vna.toml"
    file.write_text("[dimse\nport")
    monkeypatch.setenv("VNA_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=r"vna\.toml"):
        load_settings()


def test_ae_titles_of_peers_keep_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_DIMSE__PEERS", json.dumps({"Ct01": {"host": "h"}}))
    assert list(load_settings().dimse.peers) == ["Ct01"]


def test_every_setting_says_what_it_means() -> None:
    silent = [variable(path) for path, _value, text in walk(Settings.model_construct()) if not text]
    assert silent == []


def test_settings_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs/settings.md").read_text() == "\n".join(markdown()) + "\n"


def test_compose_sets_only_settings_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())
    known = {variable(path) for path, _value, _text in walk(Settings.model_construct())}
    used = {
        name
        for service in compose["services"].values()
        for name in service.get("environment", {})
        if name.startswith("VNA_")
    }
    assert used
    assert used <= known


def test_long_data_folder_still_has_a_socket_that_can_be_bound(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path / ("x" * 200))
    assert len(settings.broker_url.removeprefix("redis+socket://")) < 108


@pytest.mark.parametrize("text", ["*", "viewer.example", "https://viewer.example/path", "ftp://viewer.example", "null"])
def test_an_origin_is_one_site_and_no_wild_card(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_HTTP__VIEWER_ORIGINS", f'["{text}"]')
    with pytest.raises(ConfigurationError, match="VNA_HTTP__VIEWER_ORIGINS"):
        load_settings()


def test_a_section_that_does_not_exist_is_told_with_the_one_that_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VNA_HTP__PORT", "8081")
    with pytest.raises(ConfigurationError, match="VNA_HTP__PORT: there is no such setting; is VNA_HTTP__ meant"):
        load_settings()
