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
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from vna.domain.errors import ConfigurationError, InvalidInputError
from vna.security.limits import Limits
from vna.security.tls_files import TlsFiles
from vna.security.tls_peer import binding

MIB = 1 << 20
_SOCKET_PATH_MOST = 100  # sun_path holds 108 bytes, valkey makes a temporary name beside it


def ae_title(value: str) -> str:
    """Return an AE title without padding; PS3.5 6.2: at most 16 characters, no backslash, no control character."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not (title.isascii() and title.isprintable()):
        message = "an AE title is 1 to 16 printable ASCII characters without backslash"
        raise ValueError(message)
    return title


def origin(value: str) -> str:
    """Return an origin (RFC 6454) as browsers write it: scheme, host, and a port if it is not the scheme's own."""
    parts = urlsplit(value.strip().rstrip("/").lower())
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.geturl() != f"{parts.scheme}://{parts.netloc}"
    ):
        message = "an origin is a scheme, a host and perhaps a port, as https://viewer.example"
        raise ValueError(message)
    own = {"http": 80, "https": 443}[parts.scheme]
    return parts.geturl().removesuffix(f":{own}")


AETitle = Annotated[str, AfterValidator(ae_title)]
Origin = Annotated[str, AfterValidator(origin)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """TLS of a listener; off while ``certificate`` is not set."""

    certificate: Path | None = Field(None, description="PEM file with the certificate chain")
    key: Path | None = Field(None, description="PEM file with the private key")
    client_ca: Path | None = Field(None, description="PEM file of CAs; set, clients must show a certificate of one")

    @model_validator(mode="after")
    def _complete(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            message = "certificate and key go together"
            raise ValueError(message)
        return self

    def files(self, section: str) -> TlsFiles:
        """Return the files; ``section`` is what names these settings in a message (``DIMSE``)."""
        return TlsFiles(f"VNA_{section}__TLS", self.certificate, self.key, self.client_ca)


class PeerSettings(_Section):
    """A remote application entity that may call, be sent to, or both."""

    host: str = Field("", description="host name or address; empty: the peer may call but cannot be a destination")
    port: int = Field(104, ge=1, le=65535, description="port that the peer listens on")
    addresses: tuple[str, ...] = Field((), description="addresses it may call from; empty: any")
    certificates: tuple[Annotated[str, AfterValidator(binding)], ...] = Field(
        (),
        description="certificates it may call with, each by its SHA-256 fingerprint, common name or alternative name;"
        " set, it may not call without one of them; empty: any, or none",
    )
    tls: bool = Field(False, description="speak TLS to it; its certificate is verified")
    ca: Path | None = Field(
        None, description="PEM file of CAs that its certificate is of; empty: client_ca of dimse.tls, or the system's"
    )
    tls_name: str = Field("", description="name that its certificate must bear; empty: host")

    @model_validator(mode="after")
    def _secured(self) -> PeerSettings:
        if not self.tls and (self.ca is not None or self.tls_name):
            message = "ca and tls_name go with tls = true"
            raise ValueError(message)
        return self


class DimseSettings(_Section):
    """The DIMSE gateway."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(11112, description="port to listen on")
    ae_title: AETitle = Field("VNA", description="AE title of this archive; calls to another are rejected")
    processes: int = Field(1, ge=1, le=64, description="processes that share the port")
    peers: dict[AETitle, PeerSettings] = Field(
        default_factory=dict, description="remote application entities by AE title"
    )
    accept_unknown: Literal["loopback", "never", "any"] = Field(
        "loopback", description="which calling AE titles that are no peers may call"
    )
    max_pdu: int = Field(256 * 1024, ge=4096, le=16 * MIB, description="maximum PDU length announced, bytes")
    max_associations: int = Field(100, ge=1, description="associations at once in a process; more are rejected")
    artim_seconds: float = Field(30, gt=0, description="ARTIM timer (PS3.8 9.1.5): from connection to A-ASSOCIATE-RQ")
    idle_seconds: float = Field(300, gt=0, description="silence after which an association is aborted")
    max_object_bytes: int = Field(64 << 30, ge=MIB, description="largest data set accepted, bytes")
    private_sop_classes: tuple[str, ...] = Field((), description="further SOP Class UIDs accepted for storage")
    private_transfer_syntaxes: tuple[str, ...] = Field((), description="further Transfer Syntax UIDs accepted")
    tls: TlsSettings = TlsSettings()


class RateSettings(_Section):
    """How many requests somebody may make, in each gateway process."""

    requests_per_second: float = Field(500, ge=0, description="requests of a user, key, link or address; 0: no limit")
    costly_per_second: float = Field(
        400,
        ge=0,
        description="what may cost much: a store counts 1, a picture 4, a whole study or series 10; 0: no limit",
    )
    burst_seconds: float = Field(10, ge=1, description="so many seconds' worth may come at once")


class HttpSettings(_Section):
    """The HTTP gateway (DICOMweb)."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8080, description="port to listen on")
    processes: int = Field(1, ge=1, le=64, description="processes that share the port")
    base_url: str = Field("", description="URL that clients see, without trailing slash; empty: from the request")
    allow_anonymous: Literal["loopback", "any", "never"] = Field(
        "never", description="from where requests are answered without credentials"
    )
    viewer_origins: tuple[Origin, ...] = Field(
        (), description="origins (https://viewer.example) of pages elsewhere that may read DICOMweb in a browser (CORS)"
    )
    max_part_bytes: int = Field(64 << 30, ge=MIB, description="largest part of a STOW request, bytes")
    max_metadata_bytes: int = Field(
        32 * MIB, ge=MIB, description="metadata of a STOW request with bulk data at most, bytes: it is held in memory"
    )
    max_parts: int = Field(100_000, ge=1, description="parts of a STOW request at most")
    max_results: int = Field(5000, ge=1, description="most results of one QIDO answer")
    ohif_path: Path | None = Field(None, description="folder that OHIF is installed in; empty: ohif below data")
    picture_processes: int = Field(
        2, ge=1, le=64, description="child processes that decode and draw, of each process of either gateway"
    )
    picture_memory_bytes: int = Field(2048 * MIB, ge=512 * MIB, description="address space of each of these, bytes")
    picture_seconds: int = Field(20, ge=1, description="longest time to decode and draw one picture, seconds")
    picture_max_pixels: int = Field(
        200_000_000, ge=1, description="most values (rows by columns by samples) of a picture; more are refused"
    )
    tls: TlsSettings = TlsSettings()
    rates: RateSettings = RateSettings()


class SpoolSettings(_Section):
    """The local spool, where an instance is durable before it is acknowledged."""

    path: Path | None = Field(None, description="folder; empty: spool below data. Best on the object folder's disk")
    id: str = Field(
        "main",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="name of this spool; gateways and workers that share the folder share the name",
    )
    log_bytes: int = Field(256 * MIB, ge=0, description="disk for the log of each gateway process; 0: no log")
    min_free_bytes: int = Field(512 * MIB, ge=0, description="free disk below which C-STORE and STOW are refused")
    batch_instances: int = Field(64, ge=1, le=1000, description="instances of one queue message at most")
    batch_seconds: float = Field(0.2, gt=0, description="longest wait for a batch to fill, seconds")
    sweep_seconds: float = Field(15, gt=0, description="time between sweeps, seconds")
    sweep_age_seconds: float = Field(60, gt=0, description="age of an entry at which the sweeper takes it up")
    max_attempts: int = Field(3, ge=1, description="failed attempts after which an entry is put in quarantine")


class StoreSettings(_Section):
    """The object store."""

    kind: Literal["folder", "s3"] = Field("folder", description="where objects are kept")
    path: Path | None = Field(None, description="folder: where; empty: objects below data")
    bucket: str = Field("vna", description="s3: bucket, made beforehand")
    create_bucket: bool = Field(False, description="s3: make the bucket if it is missing (with object lock)")
    endpoint: str = Field("", description="s3: URL of the service; empty: AWS")
    region: str = Field("us-east-1", description="s3: region")
    path_style: bool = Field(True, description="s3: bucket in the path, not in the host name")
    access_key: SecretStr | None = Field(None, description="s3: access key; empty: the SDK's own chain")
    secret_key: SecretStr | None = Field(None, description="s3: secret key")
    ca: Path | None = Field(None, description="s3: PEM file of CAs for the service; empty: those of the SDK")
    sse: Literal["", "AES256", "aws:kms"] = Field("", description="s3: server-side encryption")
    kms_key: str = Field("", description="s3: KMS key id for aws:kms")
    storage_class: str = Field("STANDARD", description="s3: storage class of new objects")
    concurrency: int = Field(16, ge=1, le=256, description="s3: puts in parallel in a process")
    multipart_bytes: int = Field(64 * MIB, ge=5 * MIB, description="s3: objects from this size go in parts")
    timeout_seconds: float = Field(30, gt=0, description="s3: longest wait for an answer")


class IndexSettings(_Section):
    """The index."""

    kind: Literal["sqlite", "elasticsearch"] = Field("sqlite", description="what answers searches")
    path: Path | None = Field(None, description="sqlite: file; empty: index.sqlite below data")
    hosts: tuple[str, ...] = Field(("http://127.0.0.1:9200",), description="elasticsearch: URLs of nodes")
    prefix: str = Field("vna", pattern=r"^[a-z][a-z0-9-]{0,30}$", description="elasticsearch: prefix of index names")
    username: str = Field("", description="elasticsearch: user")
    password: SecretStr | None = Field(None, description="elasticsearch: password")
    api_key: SecretStr | None = Field(None, description="elasticsearch: API key")
    ca: Path | None = Field(None, description="elasticsearch: PEM file of the CA")
    shards: int = Field(1, ge=1, description="elasticsearch: shards of each new index")
    replicas: int = Field(0, ge=0, description="elasticsearch: replicas of each new index")
    timeout_seconds: float = Field(30, gt=0, description="elasticsearch: longest wait for an answer")


class QueueSettings(_Section):
    """The queue."""

    broker: str = Field(
        "", description="URL of Redis or Valkey (redis://, rediss://, redis+socket://); empty: one is started by vna up"
    )
    visibility_seconds: int = Field(
        3600, ge=60, description="time after which an unfinished message is given out again"
    )
    timeout_seconds: float = Field(3, gt=0, description="longest wait for the broker")
    workers: int = Field(1, ge=1, le=64, description="worker processes that vna up starts")


class ConflictSettings(_Section):
    """What happens to other bytes under the same UIDs."""

    current: Literal["first"] = Field("first", description="which content is found: the one received first")


class SyslogSettings(_Section):
    """The audit repository that events are sent on to."""

    transport: Literal["off", "tls", "udp"] = Field("off", description="how events are sent on (RFC 5425, RFC 5426)")
    host: str = Field("", description="host name or address of the audit repository")
    port: Port = Field(6514, description="port of the audit repository")
    ca: Path | None = Field(None, description="tls: PEM file of CAs; empty: those of the system")
    certificate: Path | None = Field(None, description="tls: PEM file with the certificate chain to show")
    key: Path | None = Field(None, description="tls: PEM file with its private key")
    timeout_seconds: float = Field(10, gt=0, description="longest wait for the audit repository")

    @model_validator(mode="after")
    def _complete(self) -> SyslogSettings:
        if (self.certificate is None) != (self.key is None):
            message = "certificate and key go together"
            raise ValueError(message)
        if self.transport != "off" and not self.host:
            message = "host is missing"
            raise ValueError(message)
        return self


class AuditSettings(_Section):
    """The audit trail: who saw, sent, changed or deleted what."""

    enabled: bool = Field(True, description="keep the audit trail")
    path: Path | None = Field(None, description="folder of the local audit log; empty: audit below data")
    site: str = Field("", description="AuditEnterpriseSiteID of audit messages; empty: left out")
    seal_seconds: float = Field(30, gt=0, description="time between two seals of the local log into the object store")
    repeat_seconds: float = Field(60, gt=0, description="span in which repeated events, frames say, are added up")
    retention_days: int = Field(0, ge=0, description="days the object store keeps a segment from deletion; 0: not told")
    syslog: SyslogSettings = SyslogSettings()


class OidcSettings(_Section):
    """Sign-in by OpenID Connect, and bearer tokens of its provider. Off without an issuer."""

    issuer: str = Field("", description="URL of the provider, as its tokens name it; empty: off")
    client_id: str = Field("", description="what this archive is called there")
    client_secret: SecretStr | None = Field(None, description="its secret; empty for a public client")
    scopes: str = Field("openid profile", description="scopes asked for, with blanks between")
    name_claim: str = Field("preferred_username", description="claim that names the user; without it the subject does")
    role_claim: str = Field("groups", description="claim whose values give a role")
    roles: dict[str, Literal["viewer", "researcher", "technologist", "records-manager", "administrator"]] = Field(
        default_factory=dict, description="role by value of that claim; who has none of them may not sign in"
    )
    limits: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="what somebody's reading is limited to (Keyword=value) by value of that claim;"
        " who has such a value is limited, whatever others they have",
    )
    audience: str = Field("", description="audience of bearer tokens for DICOMweb; empty: none are taken")

    @model_validator(mode="after")
    def _whole(self) -> OidcSettings:
        if self.issuer and not (self.client_id and self.roles):
            message = "an issuer needs a client_id, and roles"
            raise ValueError(message)
        for value, texts in self.limits.items():
            try:
                Limits.parse(texts)
            except InvalidInputError as error:
                message = f"limits of {value}: {error}"
                raise ValueError(message) from error
        return self


class WorklistSettings(_Section):
    """The worklist (UPS)."""

    keep_days: int = Field(
        0, ge=0, description="days after which a completed or canceled work item is removed, unless locked; 0: never"
    )


class DeidentifySettings(_Section):
    """What the role researcher sees: PS3.15 Annex E, the basic profile with the options chosen here."""

    dates: Literal["remove", "retain"] = Field("remove", description="dates and times but birth dates (113106)")
    descriptors: Literal["remove", "retain"] = Field(
        "remove", description="descriptions of studies, series and protocols, unless a name is found in them"
    )
    devices: Literal["remove", "retain"] = Field("remove", description="serial numbers and names of devices (113109)")
    patient_characteristics: Literal["remove", "retain"] = Field(
        "remove", description="sex, age, size, weight, ethnic group, smoking status, pregnancy (113108)"
    )
    safe_private: Literal["remove", "retain"] = Field(
        "remove", description="private attributes that the standard lists as safe (113111)"
    )


class LogSettings(_Section):
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
        lines.append(f"{name} ({'.'.join(path)}): {item['msg']}{shown}")
    return "\n".join(lines)


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
