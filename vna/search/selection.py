"""What a C-MOVE or C-GET selects (PS3.4 C.4.2.1, C.4.3.1): from an identifier to instances."""

from __future__ import annotations

from vna.dicom.dataset import Identifier
from vna.domain.errors import InvalidQueryError
from vna.domain.levels import RANK
from vna.domain.query import Level, Selector
from vna.search.cfind import UNIQUE, Root, level_asked
from vna.search.matching import describe


def select(identifier: Identifier, root: Root) -> Selector:
    """Return the selection of a retrieve identifier.

    The unique key of the level must be there; those of the levels above narrow
    the selection when they are, but are not insisted on: UIDs are unique
    without them, so every retrieval is a relational one (PS3.4 C.4.2.2.2).

    Raises
    ------
    InvalidQueryError
        The level is wrong, its unique key is empty, or a value is a wild card.
    """
    level = level_asked(identifier, root)
    values = {of: _values(identifier, of) for of in Level if RANK[of] <= RANK[level]}
    if not values[level]:
        tag = UNIQUE[level]
        raise InvalidQueryError(f"{describe(tag)} is needed at level {level.value}", attribute=tag)
    patients = values[Level.PATIENT]
    if len(patients) > 1:
        raise InvalidQueryError("PatientID must be a single value", attribute=UNIQUE[Level.PATIENT])
    return Selector(
        patients[0] if patients else None,
        values.get(Level.STUDY, ()),
        values.get(Level.SERIES, ()),
        values.get(Level.INSTANCE, ()),
    )


def _values(identifier: Identifier, level: Level) -> tuple[str, ...]:
    tag = UNIQUE[level]
    text = identifier[tag].text if tag in identifier else ""
    values = tuple(dict.fromkeys(part for raw in text.split("\\") if (part := raw.strip(" \0"))))
    if level is not Level.PATIENT and any(mark in text for mark in "*?"):
        raise InvalidQueryError(f"{describe(tag)}: wild cards select nothing to retrieve", attribute=tag)
    return values
