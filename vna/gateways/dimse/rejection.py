"""Associations that are rejected (PS3.8 9.3.4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vna.gateways.dimse.pdu import ASSOCIATE_RJ, SHORT_PDU


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21).

    Attributes
    ----------
    result, source, reason
        As the table has them.
    why
        In words, for the log.
    alert
        Whether somebody claims to be who he is not, as far as can be told.
    """

    result: int
    source: int
    reason: int
    why: str
    alert: bool = False

    def encode(self) -> bytes:
        """Return the PDU."""
        return struct.pack(">BxIxBBB", ASSOCIATE_RJ, SHORT_PDU, self.result, self.source, self.reason)


def reject_application_context(why: str) -> Rejection:
    """Permanent, service user, application context name not supported."""
    return Rejection(1, 1, 2, why)


def reject_calling(why: str) -> Rejection:
    """Permanent, service user, calling AE title not recognised."""
    return Rejection(1, 1, 3, why)


def reject_called(why: str) -> Rejection:
    """Permanent, service user, called AE title not recognised."""
    return Rejection(1, 1, 7, why)


def reject_version(why: str) -> Rejection:
    """Permanent, service provider (ACSE), protocol version not supported."""
    return Rejection(1, 2, 2, why)


def reject_limit(why: str) -> Rejection:
    """Transient, service provider (presentation), local limit exceeded."""
    return Rejection(2, 3, 2, why)
