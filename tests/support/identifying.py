"""What of a data set tells whose it is, and where it is found again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# What is there before and after, and tells nobody anything: dummies, and words in place of names.
_COMMON = frozenset({"anonymous", "anonymized", "removed", "unknown", "none", "19000101", "000000"})
_TEXTS = frozenset({"PN", "LO", "SH", "ST", "LT", "UT", "UC", "DA", "DT", "AE"})

_TAGS = """
00080012 00080020 00080021 00080022 00080023 0008002A 00080050 00080080 00080081 00080082 00080090 00080092
00080094 00081010 00081030 0008103E 00081040 00081048 00081050 00081060 00081070 00081080 00100010 00100020
00100021 00100030 00100032 00101000 00101001 00101005 00101040 00101060 00102154 00102180 001021B0 00104000
00181000 00181002 00181030 00200010 00204000 00321032 00321033 00321060 00324000 00380010 00380300 00380500
00384000 00400006 00400244 00400245 00400250 00400253 00400254 00400280 00401001 00402016 00402017 00402400
0040A075 0040A123 0040A124 40000010 40000114 40000115 40000119
"""
IDENTIFYING = frozenset(_TAGS.split())
"""Of patients, visits, orders, places and people; written down here apart from the table that the archive goes by."""

_HARMLESS = frozenset({"UI", "CS"})
_MAKERS = frozenset({"00080070", "00081090"})


def identifying(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield tag and text of each value that tells something, at any depth; those of less than four characters not."""
    for tag, element in attributes.items():
        for value in element.get("Value") or ():
            if element["vr"] == "SQ":
                yield from identifying(value or {})
            elif element["vr"] in _TEXTS and tag in IDENTIFYING:
                for text in value.values() if isinstance(value, dict) else (value,):
                    if len(plain := str(text).strip()) >= 4 and plain.lower() not in _COMMON:
                        yield tag, plain


def harmless(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Yield UIDs, codes and makers' names, which stay, and may be alike to something else, the longest first."""
    yield from sorted(_harmless(attributes), key=len, reverse=True)


def _harmless(attributes: Mapping[str, Any]) -> Iterator[str]:
    for tag, element in attributes.items():
        for value in element.get("Value") or ():
            if element["vr"] == "SQ":
                yield from _harmless(value or {})
            elif value and (element["vr"] in _HARMLESS or tag in _MAKERS):
                yield str(value)


def found_in(text: str, secrets: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of some values that stand in a text, whatever the case, as words of their own."""
    low = text.lower()
    return [(tag, value) for tag, value in secrets if re.search(rf"(?<!\w){re.escape(value.lower())}(?!\w)", low)]
