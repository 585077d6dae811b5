"""What limits of somebody's reading are decided by, where a study is made of series of several kinds.

A study has no department: its series have. So that the index can tell at the
level of studies whether any instance of a study meets several limits at once,
it keeps with each study the *combinations* of its instances: for each
attribute of :data:`COMBINED` a mark of the instance's value. A study of a
cardiology's US and of a radiology's CT has two, and neither is a CT of the
cardiology.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from vna.domain.records import Terms

COMBINED = (
    "00080016",  # SOPClassUID
    "00080060",  # Modality
    "00080080",  # InstitutionName
    "00081010",  # StationName
    "00081040",  # InstitutionalDepartmentName
    "00100021",  # IssuerOfPatientID
)
"""Paths that a combination has marks of, in its order. Attributes of few values: combinations are kept few."""

# Of an attribute with more values, which no standard attribute of these has, the others match nothing.
_MOST_VALUES = 8


@lru_cache(maxsize=8192)
def mark(path: str, value: str) -> str:
    """Return the mark of a value at a path, 16 hex digits; of the empty value for an instance that has none."""
    return hashlib.sha256(f"{path}\0{value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def combination(terms: Terms) -> str:
    """Return the combination of an instance: its marks in the order of :data:`COMBINED`, with blanks between."""
    return _joined(*[tuple(terms.get(path) or ("",)) for path in COMBINED])


@lru_cache(maxsize=4096)
def _joined(*values: tuple[str, ...]) -> str:
    """Join the marks; the next instance of the series has the same again."""
    pairs = zip(COMBINED, values, strict=True)
    return " ".join(mark(path, value) for path, several in pairs for value in several[:_MOST_VALUES])
