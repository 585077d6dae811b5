"""Normalisation: the view of an instance that is indexed, and what in it differs from what was received.

The original is never rewritten. Rules run in the order of :data:`RULES`, on
each value of the value representations that they name, through all sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vna.domain.records import Attributes, SharedElement
from vna.normalise.rules.codes import CODES
from vna.normalise.rules.dates import DATES
from vna.normalise.rules.datetimes import DATETIMES
from vna.normalise.rules.names import NAMES
from vna.normalise.rules.numbers import DECIMALS, INTEGERS
from vna.normalise.rules.padding import PADDING, PADDING_OF_TEXTS
from vna.normalise.rules.rule import Rule
from vna.normalise.rules.times import TIMES
from vna.normalise.rules.uids import UIDS

RULES: tuple[Rule, ...] = (
    PADDING,
    PADDING_OF_TEXTS,
    UIDS,
    DATES,
    TIMES,
    DATETIMES,
    NAMES,
    CODES,
    INTEGERS,
    DECIMALS,
)

_BY_VR: dict[str, tuple[Rule, ...]] = {
    vr: tuple(rule for rule in RULES if vr in rule.vrs) for vr in frozenset().union(*(rule.vrs for rule in RULES))
}
_MOST_DEPTH = 64
_MOST_CHANGES = 1000
_LONGEST_CACHED = 128


@dataclass(frozen=True, slots=True)
class Change:
    """One value that the normalised view shows otherwise.

    Attributes
    ----------
    path
        ``ggggeeee``, through sequences ``ggggeeee.N.ggggeeee`` with N from 0.
    before, after
        The value in the DICOM JSON model; ``None`` after means that it was removed.
    rule
        Name of the last rule that changed it.
    """

    path: str
    before: Any
    after: Any
    rule: str


@dataclass(frozen=True, slots=True)
class Normalised:
    """The normalised view, and its differences. Parts without a difference are shared with the original."""

    attributes: Attributes
    changes: tuple[Change, ...]


def normalise(attributes: Attributes) -> Normalised:
    """Return the normalised view of a data set in the DICOM JSON model (PS3.18 F.2).

    Pure; idempotent; never raises on what JSON can say. Of more than a thousand
    changes the first thousand are listed.
    """
    changes: list[Change] = []
    view = _dataset(attributes, "", 0, changes)
    return Normalised(view, tuple(changes))


def _dataset(attributes: Attributes, path: str, depth: int, changes: list[Change]) -> Attributes:
    view: Attributes = attributes
    for tag, element in attributes.items():
        if type(element) is SharedElement:
            shown, changed = element.view or _shared(element)
            if shown is not element:
                if view is attributes:
                    view = dict(attributes)
                view[tag] = shown
                changes += (Change(path + tag, *change) for change in changed[: _MOST_CHANGES - len(changes)])
            continue
        if not isinstance(element, dict):
            continue
        values = element.get("Value")
        if not values or not isinstance(values, list):
            continue
        vr = element.get("vr")
        if vr == "SQ":
            if depth >= _MOST_DEPTH:
                continue
            new = _items(values, f"{path}{tag}.", depth + 1, changes)
        else:
            rules = _BY_VR.get(vr) if isinstance(vr, str) else None
            if rules is None or not isinstance(vr, str):
                continue
            new = _values(values, vr, rules, path + tag, changes)
        if new is not values:
            if view is attributes:
                view = dict(attributes)
            view[tag] = _with(element, new)
    return view


def _shared(element: SharedElement) -> tuple[Attributes, tuple[tuple[Any, Any, str], ...]]:
    """Normalise an element that instances share, once for all of them."""
    vr, values = element["vr"], element.get("Value")
    rules = _BY_VR.get(vr)
    changes: list[Change] = []
    shown = element
    if values and rules:
        new = _values(values, vr, rules, "", changes)
        if new is not values:
            shown = SharedElement(_with(element, new))
    element.view = shown, tuple((change.before, change.after, change.rule) for change in changes)
    return element.view


def _with(element: Attributes, values: list[Any]) -> Attributes:
    """Return an element with other values, or with none."""
    changed = {name: part for name, part in element.items() if name != "Value"}
    if values:
        changed["Value"] = values
    return changed


def _items(items: list[Any], path: str, depth: int, changes: list[Change]) -> list[Any]:
    view = items
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        new = _dataset(item, f"{path}{number}.", depth, changes)
        if new is not item:
            if view is items:
                view = list(items)
            view[number] = new
    return view


def _values(values: list[Any], vr: str, rules: tuple[Rule, ...], path: str, changes: list[Change]) -> list[Any]:
    view = values
    for number, value in enumerate(values):
        kind = type(value)
        if kind is str:
            new, name = _cached(vr, value) if len(value) <= _LONGEST_CACHED else _apply(rules, value)
        elif value is None:
            continue
        elif kind is float and vr == "DS":
            if value - value == 0:
                continue
            new, name = _apply(rules, value)
        elif vr == "PN" and kind is dict and len(value) == 1 and type(value.get("Alphabetic")) is str:
            text, name = _cached_name(value["Alphabetic"])
            new = value if not name else text and dict(text)
        else:
            new, name = _apply(rules, value)
        if name:
            if view is values:
                view = list(values)
            view[number] = new
            if len(changes) < _MOST_CHANGES:
                changes.append(Change(path, value, new, name))
    if view is not values and all(value is None for value in view):
        return []
    return view


def _apply(rules: tuple[Rule, ...], value: Any) -> tuple[Any, str]:
    """Return a value as the rules want it, and the name of the last rule that changed it, empty if none did."""
    name = ""
    for rule in rules:
        new = rule.apply(value)
        if new is not value and (new != value or type(new) is not type(value)):
            name = rule.name
            if new is None:
                return None, name
            value = new
    return value, name


@lru_cache(maxsize=32768)
def _cached(vr: str, text: str) -> tuple[Any, str]:
    return _apply(_BY_VR[vr], text)


@lru_cache(maxsize=4096)
def _cached_name(text: str) -> tuple[Any, str]:
    new, name = _apply(_BY_VR["PN"], {"Alphabetic": text})
    return (None if new is None else tuple(new.items())), name
