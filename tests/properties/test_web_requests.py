"""Whatever a client asks by HTTP is understood or refused by name, and forms are chosen as the standard weighs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vna.domain.errors import InvalidInputError, InvalidQueryError
from vna.domain.query import Level
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.search_request import parse_search
from vna.retrieve import render_request as render
from vna.retrieve.report import Report


def refusal(call: Callable[[], object], kind: type[Exception]) -> Exception | None:
    """Return the error of a kind that a call raises, ``None`` if it raises none; any other is not caught."""
    try:
        call()
    except kind as error:
        return error
    return None


# ---- searches

TAGS = st.from_regex(r"\A[0-9A-Fa-f]{8}\Z")
PRIVATE = st.from_regex(r"\A00[12]9(10|1a|xx)[0-9]{2}(@ACME( 1\.1)?)?\Z")
CREATORS = st.sampled_from(["00290010", "00190010", "0029001A", "00400275.00290010", "0029001a"])
KEYWORDS = st.sampled_from(
    ["PatientName", "StudyDate", "StudyTime", "Modality", "RequestAttributesSequence", "Rows", "includefield", "limit"]
)
PARTS = st.one_of(TAGS, PRIVATE, KEYWORDS, CREATORS)
NAMES = st.one_of(st.text(max_size=20), PARTS, st.lists(PARTS, min_size=2, max_size=20).map(".".join))
VALUES = st.one_of(st.text(max_size=20), PARTS, st.sampled_from(["20260301-", "10-", "*", '""', "ACME", "true", "3"]))


@given(st.sampled_from([Level.STUDY, Level.SERIES, Level.INSTANCE]), st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_any_search_is_understood_or_refused(level: Level, parameters: list[tuple[str, str]]) -> None:
    refused = refusal(lambda: parse_search(level, parameters, {}, 5000).query(), InvalidQueryError)
    assert refused is None or str(refused)


@given(
    st.sampled_from(["02", "08", "FE"]), st.sampled_from(["10", "1a", "FF"]), st.sampled_from(["ACME", "A.B", "A B"])
)
def test_a_private_attribute_is_the_same_by_either_way_to_name_it(element: str, block: str, creator: str) -> None:
    beside = parse_search(Level.INSTANCE, [(f"0029{block}{element}", "v"), (f"002900{block}", creator)], {}, 9)
    within = parse_search(Level.INSTANCE, [(f"0029xx{element}@{creator}", "v")], {}, 9)
    assert beside == within


# ---- forms

OFFERS = (
    Offer("application/dicom", related=True),
    Offer("application/dicom", related=False),
    Offer("application/dicom+json", related=False),
    Offer("image/png", related=True),
)
RANGES = st.tuples(
    st.sampled_from(["*/*", "application/*", "image/*", "application/dicom", "application/dicom+json", "image/png"]),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


def _weight(offer: Offer, ranges: list[tuple[str, bool, float]]) -> float:
    """Return the weight of a form as PS3.18 8.7.8.1 says it: that of the most specific range that it is in."""
    found: list[tuple[int, float]] = []
    for name, related, quality in ranges:
        if name == "*/*" and not related:
            found.append((0, quality))
        elif related == offer.related:
            kinds = ["*/*", offer.content.partition("/")[0] + "/*", offer.content]
            if name in kinds:
                found.append((1 + kinds.index(name), quality))
    return max(found)[1] if found else 0.0


@given(st.lists(RANGES, min_size=1, max_size=5))
def test_a_form_has_the_weight_of_the_most_specific_range(ranges: list[tuple[str, bool, float]]) -> None:
    written = [
        f'multipart/related; type="{name}"; q={quality}' if related else f"{name}; q={quality}"
        for name, related, quality in ranges
    ]
    weights = {offer: _weight(offer, ranges) for offer in OFFERS}
    best = max(weights.values())
    if not best:
        with pytest.raises(HttpError):
            negotiate(", ".join(written), OFFERS)
        return
    assert weights[negotiate(", ".join(written), OFFERS).offer] == best


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_accept_is_answered_or_refused(parameter: str, field: str) -> None:
    refused = refusal(lambda: negotiate((parameter, field), OFFERS), HttpError)
    assert getattr(refused, "status", 406) == 406


# ---- pictures

READERS: list[Callable[[str], Any]] = [
    render.parse_window,
    render.parse_viewport,
    render.parse_size,
    render.parse_quality,
    render.parse_annotation,
    render.parse_profile,
]
NUMBERS = st.text("0123456789.,-+eE ", max_size=24)


@given(st.sampled_from(READERS), st.one_of(st.text(max_size=30), NUMBERS))
def test_any_parameter_of_a_picture_is_understood_or_refused(reader: Callable[[str], Any], text: str) -> None:
    refused = refusal(lambda: reader(text), InvalidInputError)
    assert refused is None or str(refused)


# ---- reports

TEXTS = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.just({"Alphabetic": "A^B"})
)
FIELDS = st.sampled_from(
    [
        "0040A040",
        "0040A043",
        "0040A160",
        "0040A168",
        "0040A300",
        "0040A30A",
        "00081199",
        "00081155",
        "0040DB73",
        "00100010",
    ]
)
TREES = st.recursive(
    st.dictionaries(FIELDS, st.builds(lambda value: {"vr": "UT", "Value": [value]}, TEXTS), max_size=4),
    lambda inner: st.dictionaries(
        st.one_of(FIELDS, st.just("0040A730")),
        st.builds(lambda items: {"vr": "SQ", "Value": items}, st.lists(inner, max_size=3)),
        max_size=4,
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_report_of_anything_can_be_read(tree: dict[str, Any]) -> None:
    report = Report(tree)
    assert report.plain().decode()
    page = report.html().decode()
    assert page.count("<ul>") == page.count("</ul>")
    assert page.count("<li>") == page.count("</li>") == len(list(report.lines))
