"""Which words are alike, by the expressions alone; that each index answers by them shows the contract suite."""

from __future__ import annotations

import re
import time

import pytest

from vna.index.resemble import LONGEST_EDITED, expressions
from vna.normalise.fold import fold, fold_name

LONGEST_TAKEN = 1000
"""Elasticsearch's index.max_regex_length."""


def alike(word: str, name: str) -> bool:
    return any(re.fullmatch(text, fold_name(name), re.DOTALL) for text in expressions(fold(word)))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("meier", "Mayer^Anna"),
        ("mayer", "Maier^Anna"),
        ("Müller", "MUELLER^JOHN"),
        ("Mueller", "Müller^John"),
        ("Miller", "Müller^John"),
        ("Schmidt", "Schmitt^J"),
        ("Stephan", "Smith^Stefan"),
        ("Filip", "Doe^Philipp"),
        ("Jonh", "Doe^John"),
        ("Anderson", "Andersson^B"),
        ("Gonzales", "González^M"),
        ("garc", "García Márquez^Gabriel"),
        ("marques", "García Márquez^Gabriel"),
        ("john", "Smith^Mary-John"),
        ("j", "Doe^J"),
    ],
)
def test_alike(word: str, name: str) -> None:
    assert alike(word, name)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("ss", "Doe^Jane"),
        ("miller", "Hiller^John"),
        ("ann", "Doe^Joann"),
        ("john", "Doe^Jane"),
        ("smith", "Doe^Jane"),
        ("jo", "Doe^Jane"),
        ("anderson", "Andrews^B"),
        ("doe.jane", "Doe^Jane"),
        ("johnson", "John^Son"),
    ],
)
def test_not_alike(word: str, name: str) -> None:
    assert not alike(word, name)


@pytest.mark.parametrize("length", [1, 3, 4, 8, 20, LONGEST_EDITED, LONGEST_EDITED + 1, 500])
@pytest.mark.parametrize("text", ["ai", "x", "田", ".*", "(", "ss"])
def test_expressions_are_short_and_quick(length: int, text: str) -> None:
    word = (text * length)[:length]
    assert max(map(len, expressions(word))) < LONGEST_TAKEN - 300
    started = time.perf_counter()
    assert not alike(word, "w^" * 200 + "-")
    assert time.perf_counter() - started < 1
