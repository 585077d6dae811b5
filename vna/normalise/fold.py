"""Folding of texts, so that every index answers alike whatever the case, the accents and the width."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_BLANKS = re.compile(r"\s+")
_LONGEST_CACHED = 128


def fold(text: str) -> str:
    """Return a text without case, accents, compatibility forms and runs of blanks.

    Idempotent: folding what was folded changes nothing.
    """
    return _cached(text) if len(text) <= _LONGEST_CACHED else _fold(text)


def _fold(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().split())
    # Casefold may bring forth what decomposes further (and the reverse), hence until nothing changes.
    while True:
        parts = unicodedata.normalize("NFKD", text)
        folded = "".join(char for char in parts if not unicodedata.combining(char)).casefold()
        if folded == text:
            return " ".join(folded.split())
        text = folded


_cached = lru_cache(maxsize=16384)(_fold)


def fold_name(text: str) -> str:
    """Return a component group of a person name folded (PS3.5 6.2.1).

    ``^`` still separates components, blanks around components and carets at
    the end are gone: ``"Müller ^ Anna^^"`` is ``"muller^anna"``.
    """
    if "^" not in text:
        return fold(text)
    return "^".join(fold(part) for part in text.split("^")).rstrip("^")
