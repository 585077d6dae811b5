"""Table E.1-1 of PS3.15: what the basic confidentiality profile and its options do to an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

EDITION = "2024e"
"""Edition of PS3.15 that the table is of. It is made by :mod:`vna.deidentify.generate`."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of one attribute.

    Attributes
    ----------
    basic
        Action of the basic profile (Table E.1-1a): ``X`` remove, ``Z`` empty, ``D`` a
        dummy, ``U`` another UID, or several with ``/`` between, of which the
        attribute's type in the object chooses.
    options
        Action of each option that has one, ``K`` keep or ``C`` clean, by the option's name.
    """

    basic: str
    options: Mapping[str, str]


@cache
def safe_private() -> frozenset[tuple[str, str]]:
    """Return the safe private attributes (Table E.3.10-1, as of 2020): group and element in the block, and creator."""
    lines = files(__package__).joinpath("safe_private.tsv").read_text("utf-8").splitlines()
    return frozenset((place, creator) for place, creator, _vr in (line.split("\t") for line in lines))


@cache
def table() -> Mapping[str, Row]:
    """Return the rows by tag, eight hex digits. The repeating groups (50xx, 60xx) are not among them."""
    found = {}
    for line in files(__package__).joinpath("table.tsv").read_text("utf-8").splitlines():
        tag, basic, options = line.split("\t")
        if "x" not in tag:
            found[tag] = Row(basic, MappingProxyType(dict(each.split("=") for each in options.split())))
    return MappingProxyType(found)
