"""Dates, times, numbers and folded texts: one text for one meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vna.normalise import canonical
from vna.normalise.fold import fold, fold_name


@pytest.mark.parametrize("text", ["20240229", "2024.02.29", "2024-02-29", "2024/02/29"])
def test_dates(text: str) -> None:
    assert canonical.date(text) == "20240229"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("12", "120000.000000", "125959.999999"),
        ("1234", "123400.000000", "123459.999999"),
        ("123456", "123456.000000", "123456.999999"),
        ("123456.7", "123456.700000", "123456.799999"),
        ("12:34:56.1234567", "123456.123456", "123456.123456"),
        ("12:34", "123400.000000", "123459.999999"),
        ("235960", "235960.000000", "235960.999999"),
    ],
)
def test_times(text: str, low: str, high: str) -> None:
    assert canonical.time(text) == low
    assert canonical.time(text, fill="high") == high


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", "20240101000000.000000", "20241231235959.999999"),
        ("202402", "20240201000000.000000", "20240229235959.999999"),
        ("20240203", "20240203000000.000000", "20240203235959.999999"),
        ("2024020310", "20240203100000.000000", "20240203105959.999999"),
        ("20240203101112.5+0100", "20240203101112.500000", "20240203101112.599999"),
        ("2024-02-03T10:11:12", "20240203101112.000000", "20240203101112.999999"),
    ],
)
def test_date_times(text: str, low: str, high: str) -> None:
    assert canonical.datetime(text) == low
    assert canonical.datetime(text, fill="high") == high


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        ("+05", "5"),
        ("05.50", "5.5"),
        ("1e3", "1000"),
        (0.1, "0.1"),
        (-0.0, "0"),
        ("-007", "-7"),
        (2**64 - 1, "18446744073709551615"),
    ],
)
def test_numbers(value: float | str, text: str) -> None:
    assert canonical.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(10.60060977935791, "10.60061"), (0.10000000149011612, "0.1"), (0.1234567890123, "0.1234567890123"), (3, "3"),
     (1e300, "1e+300"), (-2.5, "-2.5")],
)  # fmt: skip
def test_numbers_of_single_precision(value: float, text: str) -> None:
    assert canonical.single(value) == text


@pytest.mark.parametrize(
    ("function", "text"),
    [
        *(
            (canonical.date, text)
            for text in ("", "20230229", "00000000", "2024.02-01", "20241301", "٢٠٢٤٠١٠١", "2024")
        ),
        *((canonical.time, text) for text in ("", "24", "1260", "123461", "1", "123", "12.5", "120000.", "noon")),
        *((canonical.datetime, text) for text in ("", "20241", "20240230", "2024020125", "20240101+01", "x")),
        *((canonical.number, text) for text in ("", "1_0", "nan", "inf", "1,5", "abc", float("nan"))),
    ],
)
def test_what_is_none_of_these_is_a_value_error(function: Callable[[Any], str], text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a|could not convert"):
        function(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("MÜLLER", "muller"),
        ("  a   B\tc ", "a b c"),
        ("Straße", "strasse"),
        ("ﾔﾏﾀﾞ", "ヤマタ"),
        ("Łódź", "łodz"),
        ("İstanbul", "istanbul"),
        ("Ｗｉｄｅ", "wide"),  # noqa: RUF001 - full width on purpose
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Müller ^ Anna^^", "muller^anna"),
        ("Doe^^J", "doe^^j"),
        ("^^^", ""),
        ("Doe", "doe"),
        ("van  den Berg^Jan", "van den berg^jan"),
    ],
)
def test_fold_name(text: str, folded: str) -> None:
    assert fold_name(text) == folded
