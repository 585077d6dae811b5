"""Where an instance is, as told to somebody who sees it de-identified."""

from __future__ import annotations

from dataclasses import replace

from vna.deidentify.dataset import Deidentifier
from vna.dicom.elements import EXPLICIT_LITTLE, NATIVE
from vna.domain.records import Location


def outgoing_syntax(transfer_syntax: str) -> str:
    """Return the transfer syntax that an instance of one goes out in: native pixel data as explicit little endian."""
    return EXPLICIT_LITTLE if transfer_syntax in NATIVE or not transfer_syntax else transfer_syntax


def outgoing_digest(digest: str, deidentifier: Deidentifier) -> str:
    """Return what stands for the digest of a content: another one for the content seen otherwise, or by other rules."""
    return deidentifier.pseudonyms.digest(digest, repr(deidentifier.profile.options))


def outgoing(location: Location, deidentifier: Deidentifier) -> Location:
    """Return where an instance is, its size that of the original: what it has when it goes out, its reader tells."""
    return replace(
        location,
        transfer_syntax=outgoing_syntax(location.transfer_syntax),
        digest=outgoing_digest(location.digest, deidentifier),
    )
