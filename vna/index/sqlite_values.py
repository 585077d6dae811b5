"""How values are compared, as SQL: by any column that holds terms."""

# ruff: noqa: S608 - only names of columns written in this package are put into SQL; values are bound

from __future__ import annotations

from dataclasses import dataclass

import orjson

from vna.domain.query import AnyOf, Range, Resembles, Wildcard
from vna.index import match
from vna.index.resemble import expressions

FALSE = "0"
TRUE = "1"


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL with its parameters."""

    text: str
    parameters: tuple[object, ...] = ()


def values(column: str, given: tuple[str, ...]) -> Sql:
    """Return what finds one of some values."""
    if len(given) == 1:
        return Sql(f"{column} = ?", given)
    return Sql(f"{column} IN (SELECT value FROM json_each(?))", (orjson.dumps(given).decode(),))


def _pattern(column: str, criterion: Wildcard) -> Sql:
    match.check_pattern(criterion)
    pattern = match.glob(criterion.pattern)
    prefix = match.literal_prefix(criterion.pattern)
    parts, parameters = [f"{column} GLOB ?"], [pattern]
    if prefix:
        parts.append(f"{column} >= ?")
        parameters.append(prefix)
        after = match.after_prefix(prefix)
        if after is not None:
            parts.append(f"{column} < ?")
            parameters.append(after)
    return Sql(" AND ".join(parts), tuple(parameters))


def between(column: str, low: str | None, high: str | None) -> Sql:
    """Return what finds the values between two, inclusive."""
    parts, parameters = [], []
    if low is not None:
        parts.append(f"{column} >= ?")
        parameters.append(low)
    if high is not None:
        parts.append(f"{column} <= ?")
        parameters.append(high)
    return Sql(" AND ".join(parts) or TRUE, tuple(parameters))


def term(column: str, criterion: AnyOf | Wildcard | Range | Resembles) -> Sql:
    """Return what a criterion finds in a column."""
    if isinstance(criterion, AnyOf):
        return values(column, criterion.values)
    if isinstance(criterion, Wildcard):
        return _pattern(column, criterion)
    if isinstance(criterion, Resembles):
        return Sql(f"{column} REGEXP ?", ("|".join(expressions(criterion.word)),))
    return between(column, criterion.low, criterion.high)
