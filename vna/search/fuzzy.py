"""Fuzzy matching of person names (PS3.4 C.2.2.2.1.1, PS3.18 8.3.4.2): from a key's text to criteria."""

from __future__ import annotations

import re

from vna.domain.query import Resembles
from vna.normalise.fold import fold
from vna.search.matching import refuse

MOST_WORDS = 10

_BETWEEN = re.compile(r"[\s^=,.\-]+")


def criteria_for_name(path: str, value: str) -> tuple[Resembles, ...] | None:
    r"""Return the criteria of a person name that is matched fuzzily.

    Parameters
    ----------
    path
        An attribute of VR PN.
    value
        The key's text. Its words may come in any order and component; a ``*`` at
        the end of a word says nothing, since each is the beginning of one anyway.

    Returns
    -------
    tuple of Resembles, optional
        All must hold. ``None`` for a value that asks for another kind of
        matching: a wild card within a word, several values, no value (``""``).

    Raises
    ------
    InvalidQueryError
        The name has too many words.
    """
    words = [word.rstrip("*") for word in _BETWEEN.split(fold(value))]
    words = list(dict.fromkeys(word for word in words if word))
    if any(mark in word for word in words for mark in '*?\\"'):
        return None
    if len(words) > MOST_WORDS:
        raise refuse(path, value, f"a name for fuzzy matching has at most {MOST_WORDS} words")
    return tuple(Resembles(path, word) for word in words)
