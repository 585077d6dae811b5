"""Words by which a data set names people and their visits, to be found where a text that is kept has one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vna.domain.records import Attributes
from vna.normalise.fold import fold

_PATIENT_NAME = "00100010"
_NAMING = frozenset({"00100020", _PATIENT_NAME, "00101000", "00101001", "00080050", "00380010", "00200010"})
# Groups of each frame: of thousands, and of no person.
_OF_FRAMES = frozenset({"52009229", "52009230"})
_MOST_DEPTH = 64

_WORD = re.compile(r"[^\W_]+")
# Scripts without blanks between words: kana, Han, Hangul as it is folded, Thai. A name of one sign is a name.
_UNSPACED = re.compile(
    r"[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SHORTEST_WORD, _SHORTEST_NUMBER = 3, 4
_SHORTEST_PART, _SHORTEST_NUMBER_PART = 4, 6
_SHORT = 2


@dataclass(frozen=True, slots=True)
class Naming:
    """Words that name somebody, folded.

    Attributes
    ----------
    words
        Not to be in any value.
    short
        Those of two letters in the patient's name. They are not to be in a text; codes are often as short.
    parts
        Not to be in a text, even within another word: ``JohnSmith``, or where a script has no blanks.
    """

    words: frozenset[str]
    short: frozenset[str]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, attributes: Attributes) -> Naming:
        """Return what a data set names people by, through all sequences."""
        found = [_kind(word) for word in _words(attributes, 0)]
        short = {word for word in _given(attributes) if len(word) == _SHORT and word.isalpha()}
        return cls(
            frozenset(word for word, long, _ in found if long),
            frozenset(short),
            tuple(sorted({word for word, _, part in found if part})),
        )

    def are_in_code(self, value: Any) -> bool:
        """Say whether one of the words is in a coded value."""
        return isinstance(value, str) and not self.words.isdisjoint(_WORD.findall(fold(value)))

    def are_in_text(self, value: Any) -> bool:
        """Say whether one of the words is in a text, or in a word of it."""
        if not isinstance(value, str):
            return False
        folded = fold(value)
        words = _WORD.findall(folded)
        if not (self.words.isdisjoint(words) and self.short.isdisjoint(words)):
            return True
        return any(part in folded for part in self.parts)


def _kind(word: str) -> tuple[str, bool, bool]:
    """Return a word, whether it is looked for as a word, and whether within others."""
    if _UNSPACED.search(word):
        return word, True, True
    number = word.isdigit()
    long = len(word) >= (_SHORTEST_NUMBER if number else _SHORTEST_WORD)
    return word, long, len(word) >= (_SHORTEST_NUMBER_PART if number else _SHORTEST_PART)


def _words(attributes: Attributes, depth: int) -> Iterator[str]:
    for tag, element in attributes.items():
        vr = element.get("vr", "")
        if tag in _NAMING or vr == "PN":
            for text in _texts(element):
                yield from _WORD.findall(fold(text))
        elif vr == "SQ" and depth < _MOST_DEPTH and tag not in _OF_FRAMES:
            for item in element.get("Value") or ():
                if isinstance(item, dict):
                    yield from _words(item, depth + 1)


def _given(attributes: Attributes) -> Iterator[str]:
    """Yield the words of the patient's family, given and middle names (PS3.5 6.2.1), without titles."""
    for text in _texts(attributes.get(_PATIENT_NAME, {})):
        yield from _WORD.findall(fold(" ".join(text.split("^")[:3])))


def _texts(element: Attributes) -> Iterator[str]:
    for value in element.get("Value") or ():
        for text in value.values() if isinstance(value, dict) else (value,):
            if isinstance(text, str):
                yield text
