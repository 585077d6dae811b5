"""Configuration: one typed tree, read in one place, from the environment and one file.

Every setting can be given as an environment variable, ``VNA_`` and the path
joined by two underscores (``VNA_DIMSE__PORT=104``), or in a TOML file named by
``VNA_CONFIG``. The environment wins.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tomllib
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from vna.config.access import AuditSettings, DeidentifySettings, OidcSettings, SyslogSettings
from vna.config.network import CommitmentSettings, DimseSettings, HttpSettings, PeerSettings, RateSettings, TlsSettings
from vna.config.storage import (
    ConflictSettings,
    IndexSettings,
    QueueSettings,
    SpoolSettings,
    StoreSettings,
    WorklistSettings,
)
from vna.config.values import Section, ae_title
from vna.domain.errors import ConfigurationError

__all__ = [
    "AuditSettings",
    "CommitmentSettings",
    "ConflictSettings",
    "DeidentifySettings",
    "DimseSettings",
    "HttpSettings",
    "IndexSettings",
    "LogSettings",
    "OidcSettings",
    "PeerSettings",
    "QueueSettings",
    "RateSettings",
    "Settings",
    "SpoolSettings",
    "StoreSettings",
    "SyslogSettings",
    "TlsSettings",
    "WorklistSettings",
    "ae_title",
    "load_settings",
    "settings",
]

_SOCKET_PATH_MOST = 100  # sun_path holds 108 bytes, valkey makes a temporary name beside it


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity written")
    format: Literal["console", "json"] = Field("console", description="for a person, or one JSON object a line")


class Settings(BaseSettings):
    """All settings of the archive."""

    model_config = SettingsConfigDict(
        env_prefix="VNA_",
        env_ignore_empty=True,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: Path = Field(Path("data"), description="folder for everything that has no path of its own")
    host_id: str = Field(
        default_factory=lambda: socket.gethostname().split(".")[0], description="name of this host in logs and status"
    )
    dimse: DimseSettings = DimseSettings()
    commitment: CommitmentSettings = CommitmentSettings()
    http: HttpSettings = HttpSettings()
    spool: SpoolSettings = SpoolSettings()
    store: StoreSettings = StoreSettings()
    index: IndexSettings = IndexSettings()
    queue: QueueSettings = QueueSettings()
    conflict: ConflictSettings = ConflictSettings()
    audit: AuditSettings = AuditSettings()
    oidc: OidcSettings = OidcSettings()
    deidentify: DeidentifySettings = DeidentifySettings()
    worklist: WorklistSettings = WorklistSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what a caller gives, the environment, the file."""
        del dotenv_settings, file_secret_settings
        path = os.environ.get("VNA_CONFIG", "")
        if not path:
            return (init_settings, env_settings)
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(path)))

    @property
    def spool_path(self) -> Path:
        """Folder of the spool."""
        return self.spool.path or self.data / "spool"

    @property
    def objects_path(self) -> Path:
        """Folder of the local object store."""
        return self.store.path or self.data / "objects"

    @property
    def index_path(self) -> Path:
        """File of the SQLite index."""
        return self.index.path or self.data / "index.sqlite"

    @property
    def audit_path(self) -> Path:
        """Folder of the local audit log."""
        return self.audit.path or self.data / "audit"

    @property
    def ohif_path(self) -> Path:
        """Folder of the OHIF viewer."""
        return self.http.ohif_path or self.data / "ohif"

    @property
    def run_path(self) -> Path:
        """Folder of sockets and process notes of ``vna up``."""
        return self.data / "run"

    @property
    def broker_url(self) -> str:
        """URL of the broker; the embedded one listens on a socket below ``run_path``."""
        if self.queue.broker:
            return self.queue.broker
        path = str((self.run_path / "valkey.sock").resolve())
        if len(path.encode()) > _SOCKET_PATH_MOST:
            path = f"/tmp/vna-{hashlib.sha256(path.encode()).hexdigest()[:16]}.sock"  # noqa: S108  # mode 700 by valkey
        return f"redis+socket://{path}"


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        name = "VNA_" + "__".join(part.upper() for part in path)
        given = item.get("input")
        shown = "" if isinstance(given, dict) else f" (got {given!r})"
        wrong = "there is no such setting" if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"{name} ({'.'.join(path)}): {wrong}{shown}")
    return "\n".join(lines)


def _refuse_unknown_sections() -> None:
    """Raise ``ConfigurationError`` for variables that mean to be settings, of sections that there are not."""
    wrong = []
    for name in sorted(os.environ):
        section, underscores, _ = name.removeprefix("VNA_").partition("__")
        if name.startswith("VNA_") and underscores and section.lower() not in Settings.model_fields:
            near = get_close_matches(section.lower(), Settings.model_fields, 1)
            meant = f"; is VNA_{near[0].upper()}__ meant?" if near else ""
            wrong.append(f"{name}: there is no such setting{meant}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))


def load_settings(**overrides: Any) -> Settings:
    """Read the configuration.

    Raises
    ------
    ConfigurationError
        Naming every setting that is wrong, one on a line.
    """
    path = os.environ.get("VNA_CONFIG", "")
    if path and not Path(path).is_file():
        message = f"VNA_CONFIG: there is no file {path}"
        raise ConfigurationError(message)
    _refuse_unknown_sections()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error
    except (SettingsError, ValueError) as error:
        where = f"{path}: " if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise ConfigurationError(f"{where}{error}") from error


@cache
def settings() -> Settings:
    """Return the configuration of this process, read once."""
    return load_settings()
