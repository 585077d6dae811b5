"""The listeners, and who is reached by DIMSE."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vna.config.values import MIB, AETitle, Origin, Port, Section
from vna.security.tls_files import TlsFiles
from vna.security.tls_peer import binding


class TlsSettings(Section):
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


class PeerSettings(Section):
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


class DimseSettings(Section):
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


class CommitmentSettings(Section):
    """Storage commitment (PS3.4 J): telling a modality that its instances are stored, so that it may delete them."""

    enabled: bool = Field(True, description="accept requests for storage commitment (N-ACTION)")
    same_association_seconds: float = Field(
        2,
        ge=0,
        le=60,
        description="wait for the result, to report it on the association of the request; 0: never there",
    )
    check_seconds: float = Field(10, gt=0, description="time between looks at what is not reported yet, seconds")
    answer_seconds: float = Field(30, gt=0, le=60, description="longest wait for an answer of who is reported to")
    wait_hours: float = Field(
        12, ge=0, description="longest wait for an instance that is missing while a spool has older entries"
    )
    retry_days: float = Field(7, ge=0, description="days after which a report that nobody takes is given up")
    keep_days: int = Field(
        90, ge=0, description="days that a transaction is kept after its end, to be looked at; 0: for ever"
    )


class RateSettings(Section):
    """How many requests somebody may make, in each gateway process."""

    requests_per_second: float = Field(500, ge=0, description="requests of a user, key, link or address; 0: no limit")
    costly_per_second: float = Field(
        400,
        ge=0,
        description="what may cost much: a store counts 1, a picture 4, a whole study or series 10; 0: no limit",
    )
    burst_seconds: float = Field(10, ge=1, description="so many seconds' worth may come at once")


class HttpSettings(Section):
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
