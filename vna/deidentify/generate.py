"""Makes ``table.tsv`` of Table E.1-1 of PS3.15, when a new edition of the standard is out.

``python -m vna.deidentify.generate confidentiality_profile_attributes.json``
reads the table as innolitics/dicom-standard (MIT licence) has it in JSON.
"""

from __future__ import annotations

import json
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


def main() -> None:
    """Write the table."""
    rows = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(__file__).with_name("table.tsv").write_text("\n".join(lines(rows)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
