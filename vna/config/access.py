"""Who vouches for people, what researchers see, and what is told of everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from vna.config.values import Port, Section
from vna.domain.errors import InvalidInputError
from vna.security.limits import Limits


class SyslogSettings(Section):
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


class AuditSettings(Section):
    """The audit trail: who saw, sent, changed or deleted what."""

    enabled: bool = Field(True, description="keep the audit trail")
    path: Path | None = Field(None, description="folder of the local audit log; empty: audit below data")
    site: str = Field("", description="AuditEnterpriseSiteID of audit messages; empty: left out")
    seal_seconds: float = Field(30, gt=0, description="time between two seals of the local log into the object store")
    repeat_seconds: float = Field(60, gt=0, description="span in which repeated events, frames say, are added up")
    retention_days: int = Field(0, ge=0, description="days the object store keeps a segment from deletion; 0: not told")
    syslog: SyslogSettings = SyslogSettings()


class OidcSettings(Section):
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


class DeidentifySettings(Section):
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
