"""Which words of person names are alike (PS3.4 C.2.2.2.1.1), in regular expressions that every adapter reads alike.

The expressions use what Python's ``re`` and Lucene have in common: letters,
``.``, ``*``, ``?``, groups and ``|``. So SQLite and Elasticsearch find the same,
by the folded names that they hold for literal matching anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

# Spellings of one sound. The longest of them that a word has at a place is taken.
_SOUNDS = (
    ("ei", "ai", "ey", "ay"),
    ("ae", "a"),
    ("oe", "o"),
    ("ue", "u"),
    ("ie", "i", "y", "j"),
    ("ph", "f", "v"),
    ("ck", "k", "c", "q"),
    ("th", "dt", "tt", "t", "d"),
    ("ss", "sz", "tz", "s", "z"),
    *((letter * 2, letter) for letter in "bglmnpr"),
)
_SOUND_OF = {spelling: f"({'|'.join(sound)})" for sound in _SOUNDS for spelling in sound}
_SPECIAL = re.compile(r"([^0-9A-Za-z_])")

_SEPARATORS = r"(\^|\ |\-|\,|\.)"
_LETTER = r"[^\^\ \-\,\.]"
_BEGIN = f"(.*{_SEPARATORS})?"
_END = f"({_SEPARATORS}.*)?"
SHORTEST_EDITED = 4
"""Characters of a word from which on one mistake in it is forgiven."""
LONGEST_EDITED = 24
_CHUNK = 550


@lru_cache(maxsize=256)
def expressions(word: str) -> tuple[str, ...]:
    """Return regular expressions, one of which matches the whole of each folded name that has a word like this one.

    Alike is a word that sounds the same at its beginning (``may`` is like
    ``meier``: ei, ai, ey and ay are one sound, so are f, ph and v, doubled and
    single letters, and some more), and from four letters on a word with one
    letter that is wrong, missing, added or changed places with the next. The
    first letter must sound the same.

    Parameters
    ----------
    word
        A folded word (:func:`vna.normalise.fold.fold`), not empty.

    Returns
    -------
    tuple of str
        Each short enough for Elasticsearch (``index.max_regex_length``).
    """
    first, *rest = _spellings(word[:LONGEST_EDITED])
    start = f"{_BEGIN}{_sound(first)}"
    plain = f"{start}{''.join(map(_sound, rest))}.*"
    if not SHORTEST_EDITED <= len(word) <= LONGEST_EDITED:
        return (plain,)
    letters = [_literal(letter) for letter in "".join(rest)]
    return (plain, *(f"{start}({chunk}){_END}" for chunk in _chunks(_edited(letters))))


def _spellings(word: str) -> Iterator[str]:
    place = 0
    while place < len(word):
        pair = word[place : place + 2]
        spelling = pair if pair in _SOUND_OF else pair[0]
        yield spelling
        place += len(spelling)


def _sound(spelling: str) -> str:
    return _SOUND_OF.get(spelling) or _literal(spelling)


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _edited(letters: list[str]) -> Iterator[str]:
    for place in range(len(letters) + 1):
        before, after = "".join(letters[:place]), letters[place:]
        yield f"{before}{_LETTER}{''.join(after)}"  # one too few in the word given
        if after:
            yield f"{before}{_LETTER}?{''.join(after[1:])}"  # another one, or one too many
        if len(after) > 1:
            yield f"{before}{after[1]}{after[0]}{''.join(after[2:])}"


def _chunks(variants: Iterable[str]) -> Iterator[str]:
    waiting: list[str] = []
    size = 0
    for variant in variants:
        if waiting and size + len(variant) > _CHUNK:
            yield "|".join(waiting)
            waiting, size = [], 0
        waiting.append(variant)
        size += len(variant) + 1
    if waiting:
        yield "|".join(waiting)
