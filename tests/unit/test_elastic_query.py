"""Criteria in Elasticsearch's query language."""

from __future__ import annotations

import pytest

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Level, Query, Range, Selector, Wildcard, Words
from vna.index import elastic_query as dsl

NAME, DATE = "00100010", "00080020"


def only(criterion: Criterion, level: Level = Level.STUDY) -> dsl.Clause:
    (found,) = dsl.clause(Query(level, (criterion,)))["bool"]["filter"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (AnyOf(NAME, ("a", "b")), {"terms": {"terms": [f"{NAME}\ta", f"{NAME}\tb"]}}),
        (AnyOf(NAME, ("",)), {"bool": {"must_not": [{"term": {"paths": NAME}}]}}),
        (AnyOf("00080061", ("CT",)), {"terms": {"modalities": ["CT"]}}),
        (AnyOf("00080060", ("CT",)), dsl.NOTHING),
        (AnyOf("00080060", ("CT", "")), dsl.EVERYTHING),
        (Wildcard(NAME, "**"), {"term": {"paths": NAME}}),
        (Wildcard(NAME, "doe^*"), {"prefix": {"terms": {"value": f"{NAME}\tdoe^"}}}),
        (Wildcard(NAME, "d?e*\\"), {"wildcard": {"terms": {"value": f"{NAME}\td?e*\\\\"}}}),
        (Range(DATE, "20240101", None), {"range": {"terms": {"gte": f"{DATE}\t20240101", "lt": f"{DATE}\n"}}}),
        (Range(DATE, None, "20240101"), {"range": {"terms": {"gte": f"{DATE}\t", "lte": f"{DATE}\t20240101"}}}),
        (Words(("hea",)), {"bool": {"filter": [{"prefix": {"words": "hea"}}]}}),
    ],
)
def test_criteria(criterion: Criterion, expected: dsl.Clause) -> None:
    assert only(criterion) == expected


def test_a_creator_with_wildcard_characters_is_literal() -> None:
    found = only(Wildcard("00291008@A*B?", "x*y"), Level.INSTANCE)
    assert found == {"wildcard": {"terms": {"value": "00291008@A\\*B\\?\tx*y"}}}


def test_instances_that_are_being_removed_are_not_found() -> None:
    assert dsl.clause(Query(Level.INSTANCE))["bool"]["must_not"] == [{"term": {"removed": True}}]


def test_a_pattern_beyond_reason_is_refused_by_name() -> None:
    with pytest.raises(InvalidQueryError, match=NAME) as raised:
        only(Wildcard(NAME, "*a" * 600))
    assert raised.value.attribute == NAME


def test_lists_longer_than_the_service_takes_are_divided() -> None:
    found = only(AnyOf("0020000D", tuple(str(number) for number in range(70_000))))
    assert [len(one["terms"]["terms"]) for one in found["bool"]["should"]] == [65_536, 4_464]


def test_a_selection_of_nothing_is_none() -> None:
    assert dsl.selection(Selector()) is None
    assert dsl.selection(Selector(patient_id="")) is not None
