"""A search request (PS3.18 10.6.1): its parameters become a query of the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vna.domain.errors import InvalidQueryError
from vna.domain.levels import visible_at
from vna.domain.query import AnyOf, Criterion, Level, Query
from vna.gateways.dicomweb.attributes import creators_of, is_creator, path_of, vr_of
from vna.search.fuzzy import criteria_for_name
from vna.search.matching import combine_datetime, criteria_for, describe

ALL = "all"
_FUZZY = "fuzzymatching"
# The latter two (PS3.4 C.2.2.2.7, C.2.2.2.8) are told by the value itself, with them and without.
_FLAGS = (_FUZZY, "emptyvaluematching", "multiplevaluematching")
_PAGE = ("limit", "offset")
_ELSEWHERE = frozenset({"accept", "charset"})
# It tells in what zone the times of a request are (PS3.18 8.3.4.1.1), and is no key.
_ZONE = "00080201"
_MOST_FIELDS = 300
PARAMETERS = ("includefield", *_PAGE, *_FLAGS)
"""Query parameters of a search other than attributes."""
_NAMES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a client asks for.

    Attributes
    ----------
    level
        What is searched for.
    criteria
        All must hold.
    limit, offset
        Which of the results; the limit is never over the configured one.
    include
        Paths to return beyond the defaults, those matched on among them.
    include_all
        Whether to return all that is known.
    fixed
        UIDs of the request's own path by tag.
    warnings
        What the client must be told.
    """

    level: Level
    criteria: tuple[Criterion, ...]
    limit: int
    offset: int
    include: frozenset[str]
    include_all: bool
    fixed: Mapping[str, str]
    warnings: tuple[str, ...]

    def query(self) -> Query:
        """Return the query for the page and one more, which tells that there are more."""
        return Query(self.level, self.criteria, self.limit + 1, self.offset)


def parse_search(
    level: Level, parameters: Iterable[tuple[str, str]], fixed: Mapping[str, str], max_results: int
) -> SearchRequest:
    """Read the parameters of a search.

    Parameters
    ----------
    level
        What is searched for.
    parameters
        Names and values in the order given, decoded.
    fixed
        UIDs of the request's path by tag: ``0020000D`` and ``0020000E``.
    max_results
        Most results of one answer.

    Raises
    ------
    InvalidQueryError
        A parameter is unknown, stands twice, or has a value that it cannot have; it is named.
    """
    single: dict[str, str] = {}
    keys: dict[str, str] = {}
    include: set[str] = set()
    include_all = False
    given = list(parameters)
    creators = creators_of(given)
    for name, value in given:
        if name == "includefield":
            names = [part.strip() for part in value.split(",") if part.strip()]
            include_all |= ALL in names
            include |= {path_of(part, creators) for part in names if part != ALL and not is_creator(part)}
            if len(include) > _MOST_FIELDS:
                raise InvalidQueryError(f"{name}: at most {_MOST_FIELDS} are named, or {ALL}", attribute=name)
        elif is_creator(name):
            continue
        elif name in _PAGE or name in _FLAGS or name in _ELSEWHERE:
            if name in single:
                raise InvalidQueryError(f"{name}: stands twice", attribute=name)
            single[name] = value
        else:
            _add_key(keys, name, path_of(name, creators), value, level)
    flags = {name: _flag(name, single.get(name, "false")) for name in _FLAGS}
    warnings: list[str] = []
    if keys.pop(_ZONE, ""):
        warnings.append("Dates and times have been matched as they are stored, whatever the offset from UTC.")
    criteria: list[Criterion] = [AnyOf(tag, (uid,)) for tag, uid in fixed.items()]
    for path, value in keys.items():
        vr = vr_of(path)
        alike = criteria_for_name(path, value) if flags[_FUZZY] and vr == "PN" else None
        criteria.extend(criteria_for(path, vr, value) if alike is None else alike)
        if flags[_FUZZY] and vr == "PN" and alike is None:
            warnings.append(f"Only literal matching has been performed for {describe(path)}, by the value given.")
    return SearchRequest(
        level=level,
        criteria=combine_datetime(criteria),
        limit=min(_number("limit", single.get("limit", str(max_results))), max_results),
        offset=_number("offset", single.get("offset", "0")),
        include=frozenset(include | set(keys)),
        include_all=include_all,
        fixed=fixed,
        warnings=tuple(warnings),
    )


def _add_key(keys: dict[str, str], name: str, path: str, value: str, level: Level) -> None:
    vr = vr_of(path)
    if vr == "SQ":
        raise InvalidQueryError(f"{name}: a sequence is matched by an attribute in it", attribute=name)
    if not visible_at(path, level):
        message = f"{name}: {describe(path)} is not matched in a search for {_NAMES[level]}: each has many"
        raise InvalidQueryError(message, attribute=name)
    if vr == "UI":
        # PS3.18 8.3.4.1: a list of UIDs is separated by commas; C-FIND's backslash is taken too.
        value = value.replace(",", "\\")
        if path in keys:
            value = f"{keys[path]}\\{value}"
    elif path in keys:
        raise InvalidQueryError(f"{name}: {describe(path)} stands twice", attribute=name)
    keys[path] = value


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise InvalidQueryError(f"{name}: {text[:64]!r} is no number", attribute=name)
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidQueryError(f"{name}: {text[:64]!r} is neither true nor false", attribute=name)
    return text == "true"
