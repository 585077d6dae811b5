"""The page that lists the SOP classes and transfer syntaxes: ``python -m vna.gateways.dimse.sop_classes``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from pydicom.uid import UID

from vna.commitment.request import COMMITMENT_CLASS
from vna.dicom.dataset import IDENTIFIER_SYNTAXES
from vna.dicom.elements import EXPLICIT_LITTLE
from vna.dicom.transcode import can_transcode
from vna.gateways.dicomweb.media import media_type_of
from vna.gateways.dimse.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from vna.gateways.dimse.query import FIND_ROOTS
from vna.gateways.dimse.retrieve import GET_ROOTS, MOVE_ROOTS


def _name(uid: str) -> str:
    name = UID(uid).name
    return "(of no name)" if name == uid else name.removesuffix(" (Retired)")


def _retired(uid: str) -> str:
    return "retired" if UID(uid).is_retired else ""


def _by_number(uids: Iterable[str]) -> list[str]:
    return sorted(uids, key=lambda uid: [int(part) for part in uid.split(".")])


def markdown() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# SOP classes and transfer syntaxes"
    yield ""
    yield "This page is written by `python -m vna.gateways.dimse.sop_classes`. The [conformance"
    yield "statement](conformance-statement.md) says how each is served."
    yield ""
    yield "## Verification, query, retrieve and storage commitment"
    yield ""
    yield (
        "As SCP, with the transfer syntaxes "
        + ", ".join(f"{_name(uid)} (`{uid}`)" for uid in IDENTIFIER_SYNTAXES)
        + "."
    )
    yield ""
    yield "| SOP class | UID | |"
    yield "|---|---|---|"
    for uid in _by_number((VERIFICATION, COMMITMENT_CLASS, *FIND_ROOTS, *MOVE_ROOTS, *GET_ROOTS)):
        yield f"| {_name(uid)} | `{uid}` | {_retired(uid)} |"
    yield ""
    yield "## Storage"
    yield ""
    yield f"As SCP, and as SCU of C-MOVE and C-GET: {len(STORAGE_SOP_CLASSES)} SOP classes, each with every transfer"
    yield "syntax below. `VNA_DIMSE__PRIVATE_SOP_CLASSES` adds more."
    yield ""
    yield "| SOP class | UID | |"
    yield "|---|---|---|"
    for uid in _by_number(STORAGE_SOP_CLASSES):
        yield f"| {_name(uid)} | `{uid}` | {_retired(uid)} |"
    yield ""
    yield "## Transfer syntaxes of storage"
    yield ""
    yield "Every one is stored, and given back, as it came. *Native*: an instance stored in it can also be had in"
    yield "Explicit VR Little Endian, its pixels decoded where they are compressed. *Frames*: media type of a frame as"
    yield "stored, in WADO-RS. `VNA_DIMSE__PRIVATE_TRANSFER_SYNTAXES` adds more, as stored only."
    yield ""
    yield "| transfer syntax | UID | | native | frames |"
    yield "|---|---|---|---|---|"
    for uid in _by_number(TRANSFER_SYNTAXES):
        native = "yes" if can_transcode(uid, EXPLICIT_LITTLE) else "no"
        frames = f"`{media_type_of(uid)}`"
        yield f"| {_name(uid)} | `{uid}` | {_retired(uid)} | {native} | {frames} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(markdown()) + "\n")
