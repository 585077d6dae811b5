"""Makes the data of this package of PS3.15, when a new edition of the standard is out.

``python -m vna.deidentify.generate confidentiality_profile_attributes.json chapter_E.rst``
reads Table E.1-1 as innolitics/dicom-standard (MIT licence) has it in JSON, and
Table E.3.10-1 in a reStructuredText of Annex E (chsasank/dicom_standard).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_OPTIONS = {
    "rtnSafePrivOpt": "safe-private",
    "rtnUIDsOpt": "uids",
    "rtnDevIdOpt": "devices",
    "rtnInstIdOpt": "institutions",
    "rtnPatCharsOpt": "patient",
    "rtnLongFullDatesOpt": "full-dates",
    "rtnLongModifDatesOpt": "modified-dates",
    "cleanDescOpt": "descriptors",
    "cleanStructContOpt": "structured-content",
    "cleanGraphOpt": "graphics",
}


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each attribute of the table: tag, action of the basic profile, actions of the options.

    Repeating groups keep their ``x``; the row of all private attributes is left
    out, since no code but that for private attributes needs it.
    """
    found = []
    for row in rows:
        tag = str(row["tag"]).strip("() ").replace(",", "").replace("X", "x")
        if len(tag) == 8:
            options = [f"{name}={row[column]}" for column, name in _OPTIONS.items() if row.get(column)]
            found.append("\t".join((tag, str(row["basicProfile"]), " ".join(options))))
    return sorted(found)


def private_lines(text: str) -> list[str]:
    """Return a line for each safe private attribute: group and element within its block, creator, VR."""
    found = []
    cells: list[list[str]] = []
    for line in text[text.index("table_E.3.10-1") : text.index("_sect_E.3.11")].splitlines():
        if line.strip().startswith("|"):
            parts = [part.strip() for part in line.strip().strip("|").split("|")]
            cells = cells or [[] for _ in parts]
            for cell, part in zip(cells, parts, strict=False):
                if part:
                    cell.append(part)
        elif cells:
            tag, creator, vr, *_ = (" ".join(cell) for cell in cells)
            if place := re.fullmatch(r"\(([0-9A-Fa-f]{4}),xx([0-9A-Fa-f]{2})\)", tag):
                found.append("\t".join((f"{place[1]}{place[2]}".upper(), creator, vr)))
            cells = []
    return sorted(found)


def main() -> None:
    """Write the data."""
    here = Path(__file__)
    profile, annex = (Path(each).read_text("utf-8") for each in sys.argv[1:3])
    here.with_name("table.tsv").write_text("\n".join(lines(json.loads(profile))) + "\n", "utf-8")
    here.with_name("safe_private.tsv").write_text("\n".join(private_lines(annex)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
