"""Matching of work items (PS3.4 CC.2.8.3, C.2.2.2), without an index: criteria against the terms of one data set.

The semantics are those of :mod:`vna.ports.index`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Range, Resembles, Wildcard
from vna.domain.records import Attributes
from vna.normalise.pipeline import normalise
from vna.normalise.terms import terms
from vna.workitems.tags import items

Texts = tuple[str, ...]
Column = Callable[[str], Texts]
"""Returns the terms of a data set at a path."""
Test = Callable[[Column], bool]
Resemblance = Callable[[str], Sequence[str]]
"""Returns regular expressions, one of which matches a folded name that has a word like the given one."""

_KINDS: Mapping[str, type[Any]] = {each.__name__: each for each in (AnyOf, Wildcard, Range, DateTimeRange, Resembles)}
_MIDNIGHT = "000000.000000"
_LONGEST_PATTERN = 1024


def terms_of(attributes: Attributes) -> Mapping[str, Texts]:
    """Return the terms of a data set as it is searched."""
    return terms(normalise(attributes).attributes)


def terms_at(attributes: Attributes, path: str) -> Texts:
    """Return the terms of a data set at one path, however deep it leads."""
    if "@" in path:
        return terms_of(attributes).get(path, ())
    *above, last = path.split(".")
    data_sets = [attributes]
    for tag in above:
        data_sets = [item for each in data_sets for item in items(each, tag)]
    found = (text for each in data_sets if last in each for text in terms_of({last: each[last]}).get(last, ()))
    return tuple(dict.fromkeys(found))


def paths_of(criteria: Sequence[Criterion]) -> list[str]:
    """Return the paths that criteria look at."""
    paths: list[str] = []
    for each in criteria:
        if isinstance(each, DateTimeRange):
            paths += [each.date_path, each.time_path]
        elif isinstance(each, AnyOf | Wildcard | Range | Resembles):
            paths.append(each.path)
    return list(dict.fromkeys(paths))


class Matching:
    """Makes tests of criteria.

    Parameters
    ----------
    resemblance
        Which words of names are alike.
    """

    def __init__(self, resemblance: Resemblance) -> None:
        self._resemblance = resemblance

    def test(self, criteria: Sequence[Criterion]) -> Test:
        """Return whether a data set meets all criteria, as a function of its terms.

        Raises ``InvalidQueryError`` for what cannot be matched.
        """
        tests = [self._one(each) for each in criteria]
        return lambda column: all(test(column) for test in tests)

    def matches(self, criteria: Sequence[Criterion], attributes: Attributes) -> bool:
        """Say whether one data set meets all criteria."""
        return self.test(criteria)(lambda path: terms_at(attributes, path))

    def _one(self, criterion: Criterion) -> Test:
        match criterion:
            case AnyOf(path, wanted):
                values = frozenset(wanted)
                empty = "" in values
                return lambda column: not values.isdisjoint(found) if (found := column(path)) else empty
            case Wildcard(path, pattern):
                return _any(path, _glob(path, pattern))
            case Range(path, low, high):
                return lambda column: any(_within(text, low, high) for text in column(path))
            case DateTimeRange(date_path, time_path, low, high):
                return lambda column: any(
                    _within(date + time, low, high)
                    for date in column(date_path)
                    for time in column(time_path) or (_MIDNIGHT,)
                )
            case Resembles(path, word):
                return _any(path, re.compile("|".join(f"(?:{each})" for each in self._resemblance(word)), re.DOTALL))
        raise InvalidQueryError(f"work items are not searched by {type(criterion).__name__}")


def _within(text: str, low: str | None, high: str | None) -> bool:
    return (low is None or low <= text) and (high is None or text <= high)


def _any(path: str, pattern: re.Pattern[str]) -> Test:
    return lambda column: any(pattern.fullmatch(text) for text in column(path))


def _glob(path: str, pattern: str) -> re.Pattern[str]:
    if len(pattern) > _LONGEST_PATTERN:
        raise InvalidQueryError(f"the pattern is longer than {_LONGEST_PATTERN} characters", attribute=path)
    # Atomic: what one star has passed over is not tried again, so no pattern takes long.
    first, *rest = re.split(r"\*+", pattern)
    if not rest:
        return re.compile(_literal(first), re.DOTALL)
    *middle, last = rest
    passed = "".join(f"(?>.*?{_literal(part)})" for part in middle if part)
    return re.compile(f"{_literal(first)}{passed}.*{_literal(last)}", re.DOTALL)


def _literal(text: str) -> str:
    return "".join("." if letter == "?" else re.escape(letter) for letter in text)


def criteria_to_json(criteria: Sequence[Criterion]) -> list[dict[str, Any]]:
    """Return criteria as values of JSON."""
    return [{"kind": type(each).__name__, **asdict(each)} for each in criteria]


def criteria_from_json(found: Sequence[Mapping[str, Any]]) -> tuple[Criterion, ...]:
    """Read criteria back; raises ``KeyError`` or ``TypeError`` for what is none."""
    made: list[Criterion] = []
    for each in found:
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in each.items()}
        made.append(_KINDS[str(fields.pop("kind"))](**fields))
    return tuple(made)
