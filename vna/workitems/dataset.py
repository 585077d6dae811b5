"""A data set that somebody sent for a work item: as it may be kept, or refused with the attribute that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from vna.dicom.dictionary import KNOWN_VRS, public_vr, show_tag
from vna.dicom.from_json import data_set_of
from vna.dicom.write import DataSetWriter
from vna.domain.errors import InvalidInputError
from vna.domain.records import Attributes
from vna.normalise import canonical
from vna.workitems import tags

_OTHER_GROUPS = frozenset({"0000", "0002", "0004", "0006"})
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_CODE = re.compile(r"[A-Z0-9 _]{0,16}")
_AE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def is_uid(text: str) -> bool:
    """Say whether a text is a UID (PS3.5 9.1)."""
    return len(text) <= 64 and bool(_UID.fullmatch(text))


def is_ae_title(text: str) -> bool:
    """Say whether a text is an AE title (PS3.5 6.2)."""
    return bool(_AE.fullmatch(text) and text.strip())


class _Nowhere:
    """Takes what is written to see whether it can be."""

    @staticmethod
    def write(data: bytes, /) -> int:
        return len(data)


def accept(given: Attributes) -> tuple[Attributes, bool]:
    """Return a data set as it is kept, and whether it differs from what was given.

    Commands, File Meta Information and group lengths are left out; a VR that is
    not that of the dictionary becomes it, if the value is one of its. Texts are
    UTF-8 (PS3.18 F.2).

    Raises
    ------
    InvalidInputError
        A value that its VR does not allow, or bulk data (PS3.18 11.1.3); it is named.
    """
    kept, changed = _kept(given, "", 0)
    # The only writer of data sets knows best what can be one.
    DataSetWriter(_Nowhere(), {}, lambda _offset, _length: ()).write(kept)
    for path, vr, value in _values(kept, ""):
        _check(path, vr, value)
    if tags.CHARSET in kept or not json.dumps(kept, ensure_ascii=False).isascii():
        kept[tags.CHARSET] = tags.element("CS", "ISO_IR 192")
    return kept, changed


def _kept(given: Attributes, above: str, depth: int) -> tuple[Attributes, bool]:
    kept: Attributes = {}
    changed = False
    for tag, field in given.items():
        name = f"{above}{show_tag(int(tag, 16))}"
        if tag[:4] in _OTHER_GROUPS or tag[4:] == "0000":
            changed = True
            continue
        if "BulkDataURI" in field:
            raise InvalidInputError(f"{name}: a work item has no bulk data (PS3.18 11.1.3)")
        wanted = public_vr(int(tag, 16))
        vr = field.get("vr") or wanted
        if not isinstance(vr, str):
            raise InvalidInputError(f"{name}: the VR is no text")
        if vr != wanted and wanted.encode() in KNOWN_VRS and wanted != "UN" and not int(tag[3], 16) % 2:
            if "SQ" in {vr, wanted}:
                raise InvalidInputError(f"{name}: the VR is {wanted}, not {vr[:8]}")
            vr, changed = wanted, True
        field = {key: field[key] for key in ("Value", "InlineBinary") if field.get(key) not in (None, [], "")}  # noqa: PLW2901 - the same field
        if vr == "SQ" and "Value" in field:
            if not isinstance(field["Value"], list):
                raise InvalidInputError(f"{name}: a sequence has an array of items")
            # Items of a sequence that came without its VR are still to be read.
            read = given[tag].get("vr") == "SQ"
            found = field["Value"] if read else [data_set_of(item or {}, depth + 1) for item in field["Value"]]
            pairs = [_kept(item, f"{name}, ", depth + 1) for item in found]
            field["Value"] = [item for item, _changed in pairs]
            changed |= any(each for _item, each in pairs)
        kept[tag] = {"vr": vr, **field}
    return dict(sorted(kept.items())), changed


def _values(attributes: Attributes, above: str) -> Iterator[tuple[str, str, Any]]:
    for tag, field in attributes.items():
        name = f"{above}{show_tag(int(tag, 16))}"
        for value in field.get("Value", ()):
            if field["vr"] == "SQ":
                yield from _values(value, f"{name}, ")
            elif value is not None:
                yield name, field["vr"], value


def _check(path: str, vr: str, value: Any) -> None:
    reader = _READERS.get(vr)
    if reader is None:
        return
    try:
        good = reader(str(value))
    except ValueError:
        good = False
    if not good:
        raise InvalidInputError(f"{path}: {str(value)[:80]!r} is no value of VR {vr}")


_READERS: dict[str, Callable[[str], Any]] = {
    "AE": is_ae_title,
    "CS": _CODE.fullmatch,
    "DA": canonical.date,
    "DT": canonical.partial_datetime,
    "TM": canonical.partial_time,
    "UI": is_uid,
}
