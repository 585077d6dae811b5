"""Where instances are kept, found and waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from vna.config.values import MIB, Section


class SpoolSettings(Section):
    """The local spool, where an instance is durable before it is acknowledged."""

    path: Path | None = Field(None, description="folder; empty: spool below data. Best on the object folder's disk")
    id: str = Field(
        "main",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="name of this spool; gateways and workers that share the folder share the name",
    )
    log_bytes: int = Field(
        256 * MIB,
        ge=0,
        description="disk that each gateway process keeps ready in empty segments, for instances of up to 4 MiB; "
        "0: each instance in a file of its own",
    )
    allow_volatile: bool = Field(
        False, description="take a spool on tmpfs or overlay, or below a mount point that is not mounted"
    )
    create: bool = Field(
        True, description="make the spool if there is none at its path; no: refuse to start, its disk may be missing"
    )
    acknowledge: Literal["spooled", "stored"] = Field(
        "spooled",
        description="when C-STORE and STOW answer: the bytes are durable on this host, or in the object store",
    )
    stored_seconds: float = Field(
        60, gt=0, description="acknowledge stored: longest wait for the object store before the sender is refused"
    )
    most_refusals: int = Field(
        100,
        ge=0,
        description="instances of one sender refused in a row after which the next ones wait in the spool "
        "for a person; 0: no limit",
    )
    min_free_bytes: int = Field(512 * MIB, ge=0, description="free disk below which C-STORE and STOW are refused")
    batch_instances: int = Field(64, ge=1, le=1000, description="instances of one queue message at most")
    batch_seconds: float = Field(0.2, gt=0, description="longest wait for a batch to fill, seconds")
    sweep_seconds: float = Field(15, gt=0, description="time between sweeps, seconds")
    sweep_age_seconds: float = Field(60, gt=0, description="age of an entry at which the sweeper takes it up")
    max_attempts: int = Field(3, ge=1, description="failed attempts after which an entry is put in quarantine")


class StoreSettings(Section):
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
    verify_bytes_second: int = Field(
        2 * MIB, ge=0, description="bytes a second at which workers verify what is stored, round after round; 0: never"
    )


class IndexSettings(Section):
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


class QueueSettings(Section):
    """The queue."""

    broker: str = Field(
        "", description="URL of Redis or Valkey (redis://, rediss://, redis+socket://); empty: one is started by vna up"
    )
    visibility_seconds: int = Field(
        3600, ge=60, description="time after which an unfinished message is given out again"
    )
    timeout_seconds: float = Field(3, gt=0, description="longest wait for the broker")
    workers: int = Field(1, ge=1, le=64, description="worker processes that vna up starts")


class ConflictSettings(Section):
    """What happens to other bytes under the same UIDs."""

    current: Literal["first"] = Field("first", description="which content is found: the one received first")


class WorklistSettings(Section):
    """The worklist (UPS)."""

    keep_days: int = Field(
        0, ge=0, description="days after which a completed or canceled work item is removed, unless locked; 0: never"
    )
