"""Documents and terms of the Elasticsearch adapter."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.contracts import index_data as d
from vna.domain.identity import patient_identity
from vna.domain.query import Level
from vna.index import elastic_documents as docs

LUCENE_LIMIT = 32_766


def content(**terms: str | None) -> docs.Document:
    one = d.instance(words=("head",), terms={key.removeprefix("t"): value for key, value in terms.items()})
    return docs.instance_document(one, one.received_us, [])


def test_terms_of_private_and_nested_paths_are_literal() -> None:
    one = d.instance(terms={d.PRIVATE: "mosaic", d.SCHEDULED_STEP_ID: ("a", "b"), "00189999": ("", "")})
    found = docs.instance_document(one, one.received_us, [])
    assert f"{d.PRIVATE}\tmosaic" in found["terms"]
    assert [text for text in found["terms"] if text.startswith("00400275")] == [
        "00400275.00400009\ta",
        "00400275.00400009\tb",
    ]
    assert "00189999" not in found["paths"]


def test_series_and_study_take_what_is_of_their_level() -> None:
    found = content(t0008103E="thin", t00081030="head")
    series = docs.series_document(found, {"b", "a"})
    study = docs.study_document(found, set(), {"SR", "CT"}, {d.CT}, {"b", "a"})
    assert "0008103E" in series["attributes"]
    assert "0008103E\tthin" in series["terms"]
    assert d.SOP_UID not in series["attributes"]
    assert series["words"] == ["a", "b"]
    assert "0008103E" not in study["attributes"]
    assert "00081030\thead" in study["terms"]
    assert study["modalities"] == ["CT", "SR"]
    assert study["patient"] == patient_identity("P1", "")


def test_patients_are_sorted_by_name_then_identity() -> None:
    keys = [
        docs.study_document(content(t00100010=name, t00100020=key), (), (), (), ())["patient_key"]
        for name, key in ((None, "1"), ("doe^a", "1"), ("doe^ann", "1"), ("n" * 9000, "1"))
    ]
    assert keys == sorted(keys)
    assert len(keys[3]) < 400


def test_numbers_that_are_none_are_missing() -> None:
    numbers = {text: content(t00200013=text)["number"] for text in ("7", "-1", "x", "1.5", str(1 << 70), None)}
    assert numbers == {"7": 7, "-1": -1, "x": None, "1.5": None, str(1 << 70): None, None: None}


def test_half_surrogate_pairs_become_replacement_characters() -> None:
    assert docs.clean("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
    encoded = docs.encode({"a\udfff": ["\ud800", 1 << 80, ("x",)]})
    assert json.loads(encoded.decode()) == {"a\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}", 1 << 80, ["x"]]}


@given(st.text(alphabet=st.characters(), max_size=40), st.integers(0, 40_000))
def test_a_term_is_never_too_long_for_lucene(value: str, times: int) -> None:
    assert len(docs.term(d.PRIVATE, value * times if len(value) * times < 200_000 else value).encode()) <= LUCENE_LIMIT


def test_long_values_differ_by_what_was_cut() -> None:
    one, other = docs.term("00104000", "x" * 40_000 + "a"), docs.term("00104000", "x" * 40_000 + "b")
    assert one != other
    assert one[:20_000] == other[:20_000]


def test_a_hit_says_modalities_and_counts() -> None:
    source = docs.study_document(content(), (), {"CT"}, (), ())
    found = docs.hit(Level.STUDY, source, {d.STUDY_SERIES: 2})
    assert found.attributes[d.MODALITIES_IN_STUDY] == {"vr": "CS", "Value": ["CT"]}
    assert found.attributes[d.SOP_CLASSES_IN_STUDY] == {"vr": "UI"}
    assert found.attributes[d.STUDY_SERIES] == {"vr": "IS", "Value": [2]}
