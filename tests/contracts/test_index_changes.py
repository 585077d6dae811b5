"""What every index does when it is changed: upserts, conflicts, removal, sets, state."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from tests.contracts import index_data as d
from tests.contracts.index_adapters import IndexSpec, open_index
from vna.domain.errors import ConflictError
from vna.domain.identity import object_key, patient_identity
from vna.domain.query import AnyOf, Hit, Level, Query, Selector, State, Words
from vna.domain.records import IndexedInstance
from vna.ports.index import Index, IndexCounts, Outcome, Upserted

CREATED = Upserted(Outcome.CREATED)


def only(index: Index, level: Level, *criteria: AnyOf) -> Hit:
    (hit,) = index.query(Query(level, criteria))
    return hit


def contents(index: Index) -> list[object]:
    """Return all that can be seen of an index."""
    index.refresh()
    seen: list[object] = [index.counts()]
    for level in Level:
        seen += [(hit.level, hit.id, hit.attributes, hit.location) for hit in index.query(Query(level))]
    ids = [hit.id for hit in index.query(Query(Level.INSTANCE))]
    seen.append(index.versions(ids))
    seen.append(index.facets(Query(Level.STUDY), [d.MODALITIES_IN_STUDY, d.SOP_CLASSES_IN_STUDY, d.STUDY_DATE]))
    return seen


# ---- upsert


def test_upsert_of_nothing(index: Index) -> None:
    assert index.upsert([]) == []


def test_upserted_instances_are_found_after_refresh(index: Index) -> None:
    assert index.upsert([d.instance(sop=str(number)) for number in range(1, 4)]) == [CREATED] * 3
    index.refresh()
    assert index.counts() == IndexCounts(patients=1, studies=1, series=1, instances=3, bytes=3000)
    assert len(index.query(Query(Level.INSTANCE))) == 3


def test_the_same_again_is_a_duplicate_and_changes_nothing(index: Index) -> None:
    given = d.instance()
    index.upsert([given])
    before = contents(index)
    assert index.upsert([given]) == [Upserted(Outcome.DUPLICATE, current=True)]
    assert contents(index) == before


def test_the_same_bytes_received_again_are_a_duplicate(index: Index) -> None:
    index.upsert([d.instance(received=5)])
    before = contents(index)
    assert index.upsert([d.instance(received=9)]) == [Upserted(Outcome.DUPLICATE, current=True)]
    assert contents(index) == before


def test_instances_of_one_call_may_repeat(index: Index) -> None:
    one, two = d.instance(sop="1"), d.instance(sop="2")
    outcomes = index.upsert([one, two, one, one])
    assert [found.outcome for found in outcomes] == [
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.DUPLICATE,
        Outcome.DUPLICATE,
    ]
    index.refresh()
    assert index.counts().instances == 2


def test_outcomes_come_in_the_order_given(index: Index) -> None:
    index.upsert([d.instance(sop="2"), d.instance(sop="3", content="first")])
    outcomes = index.upsert([d.instance(sop="1"), d.instance(sop="2"), d.instance(sop="3", received=1)])
    assert [found.outcome for found in outcomes] == [Outcome.CREATED, Outcome.DUPLICATE, Outcome.CONFLICT]


def test_one_sop_instance_uid_in_two_studies_is_two_instances(index: Index) -> None:
    one = d.instance("1.1")
    twin = d.instance("1.2")
    uids = replace(twin.uids, sop=one.uids.sop)
    twin = replace(twin, uids=uids, key=object_key(uids, twin.digest), terms={**twin.terms, d.SOP_UID: (uids.sop,)})
    assert index.upsert([one, twin]) == [CREATED, CREATED]
    index.refresh()
    assert index.counts().instances == 2
    assert len(index.query(Query(Level.INSTANCE, (AnyOf(d.SOP_UID, (one.uids.sop,)),)))) == 2
    assert [found.uids for found in index.locate(Selector(studies=("1.2",)))] == [uids]


def test_an_instance_larger_than_a_page(index: Index) -> None:
    given = d.instance(terms={"00104000": "long " * 6000})
    index.upsert([given])
    index.refresh()
    assert only(index, Level.INSTANCE).attributes == given.attributes


# ---- conflicts


def test_other_bytes_received_later_are_a_conflict_and_are_not_found(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    assert index.upsert([first]) == [CREATED]
    assert index.upsert([later]) == [Upserted(Outcome.CONFLICT, current=False, other_digest=first.digest)]
    index.refresh()
    hit = only(index, Level.INSTANCE)
    assert hit.location is not None
    assert hit.location.digest == first.digest
    assert index.counts().instances == 1
    assert [found.digest for found in index.locate(Selector(studies=("1.2.1",)))] == [first.digest]


def test_other_bytes_received_earlier_are_a_conflict_and_become_current(index: Index) -> None:
    first = d.instance(content="a", received=1, size=10, terms={d.ACCESSION: "first", d.MODALITY: "MR"})
    later = d.instance(content="b", received=2, size=20, terms={d.ACCESSION: "later"})
    index.upsert([later])
    assert index.upsert([first]) == [Upserted(Outcome.CONFLICT, current=True, other_digest=later.digest)]
    index.refresh()
    hit = only(index, Level.INSTANCE, AnyOf(d.ACCESSION, ("first",)))
    assert hit.location is not None
    assert hit.location.digest == first.digest
    assert only(index, Level.STUDY, AnyOf(d.ACCESSION, ("first",))).attributes[d.MODALITIES_IN_STUDY]["Value"] == ["MR"]
    assert index.query(Query(Level.STUDY, (AnyOf(d.ACCESSION, ("later",)),))) == []
    assert index.counts() == IndexCounts(patients=1, studies=1, series=1, instances=1, bytes=10)


def test_of_contents_received_together_the_smallest_digest_is_current(index: Index) -> None:
    small, large = sorted((d.instance(content=text) for text in "ab"), key=lambda one: one.digest)
    index.upsert([large])
    index.upsert([small])
    index.refresh()
    hit = only(index, Level.INSTANCE)
    assert hit.location is not None
    assert hit.location.digest == small.digest


def test_a_conflict_within_one_call(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    assert index.upsert([first, later]) == [
        CREATED,
        Upserted(Outcome.CONFLICT, current=False, other_digest=first.digest),
    ]


def test_current_says_what_is_found_when_the_call_returns(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    assert index.upsert([later, first]) == [
        Upserted(Outcome.CREATED, current=False),
        Upserted(Outcome.CONFLICT, current=True, other_digest=later.digest),
    ]


def test_a_content_of_a_conflict_sent_again_is_a_duplicate(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    index.upsert([first])
    index.upsert([later])
    (again,) = index.upsert([later])
    assert (again.outcome, again.current) == (Outcome.DUPLICATE, False)
    (again,) = index.upsert([first])
    assert (again.outcome, again.current) == (Outcome.DUPLICATE, True)


def test_a_duplicate_names_the_other_content_so_that_a_conflict_cut_short_is_seen_again(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    index.upsert([first, later])
    assert index.upsert([later])[0].other_digest == first.digest
    assert index.upsert([first])[0].other_digest == later.digest


def test_a_content_known_to_be_received_earlier_than_thought_becomes_current(index: Index) -> None:
    first, second = d.instance(content="a", received=5), d.instance(content="b", received=9)
    index.upsert([first, second])
    (found,) = index.upsert([d.instance(content="b", received=1)])
    assert (found.outcome, found.current) == (Outcome.DUPLICATE, True)
    assert index.versions([first.uids.instance_id]) == {first.uids.instance_id: [second.digest, first.digest]}


def test_versions_list_all_contents_current_first(index: Index) -> None:
    given = [d.instance(content=text, received=number) for number, text in enumerate("abc")]
    other = d.instance(sop="2")
    index.upsert([given[1], given[2], given[0], other])
    index.refresh()
    ids = [given[0].uids.instance_id, other.uids.instance_id, "f" * 32]
    assert index.versions(ids) == {ids[0]: [one.digest for one in given], ids[1]: [other.digest]}
    assert index.versions([]) == {}


# ---- representatives and derived sets


def test_the_first_received_instance_represents_series_and_study(index: Index) -> None:
    index.upsert([d.instance(sop="2", received=9, terms={d.STUDY_DESCRIPTION: "late", d.SERIES_DESCRIPTION: "late"})])
    index.upsert([d.instance(sop="1", received=1, terms={d.STUDY_DESCRIPTION: "soon", d.SERIES_DESCRIPTION: "soon"})])
    index.upsert([d.instance(sop="3", received=5, terms={d.STUDY_DESCRIPTION: "then", d.SERIES_DESCRIPTION: "then"})])
    index.refresh()
    assert only(index, Level.STUDY).attributes[d.STUDY_DESCRIPTION]["Value"] == ["soon"]
    assert only(index, Level.SERIES).attributes[d.SERIES_DESCRIPTION]["Value"] == ["soon"]
    assert index.query(Query(Level.STUDY, (AnyOf(d.STUDY_DESCRIPTION, ("late",)),))) == []
    assert len(index.query(Query(Level.INSTANCE, (AnyOf(d.STUDY_DESCRIPTION, ("late",)),)))) == 1


def test_of_instances_received_together_the_smallest_identity_represents(index: Index) -> None:
    given = [d.instance(sop=str(n), terms={d.STUDY_DESCRIPTION: f"of {n}"}) for n in range(1, 6)]
    smallest = min(given, key=lambda one: one.uids.instance_id)
    for one in given:
        index.upsert([one])
    index.refresh()
    assert only(index, Level.STUDY).attributes[d.STUDY_DESCRIPTION] == smallest.attributes[d.STUDY_DESCRIPTION]


def test_a_study_is_represented_across_its_series(index: Index) -> None:
    index.upsert([d.instance(series="1", received=2, terms={d.PATIENT_ID: "late"})])
    index.upsert([d.instance(series="2", received=1, terms={d.PATIENT_ID: "soon"})])
    index.refresh()
    assert only(index, Level.PATIENT).id == patient_identity("soon", "")
    series = index.query(Query(Level.SERIES))
    assert [hit.attributes[d.PATIENT_ID]["Value"] for hit in series] == [["late"], ["soon"]]


def test_sets_and_counts_grow_with_what_arrives(index: Index) -> None:
    index.upsert([d.instance(series="1", sop="1")])
    index.upsert([d.instance(series="1", sop="2"), d.instance(series="2", terms={d.MODALITY: "SR"}, sop_class=d.SR)])
    index.refresh()
    hit = only(index, Level.STUDY, AnyOf(d.MODALITIES_IN_STUDY, ("SR",)))
    assert hit.attributes[d.MODALITIES_IN_STUDY] == {"vr": "CS", "Value": ["CT", "SR"]}
    assert hit.attributes[d.SOP_CLASSES_IN_STUDY] == {"vr": "UI", "Value": [d.CT, d.SR]}
    assert hit.attributes[d.STUDY_SERIES]["Value"] == [2]
    assert hit.attributes[d.STUDY_INSTANCES]["Value"] == [3]


def test_sets_that_a_sender_wrote_into_its_instances_are_not_believed(index: Index) -> None:
    index.upsert([d.instance(terms={d.MODALITIES_IN_STUDY: "XA"})])
    index.refresh()
    assert only(index, Level.STUDY).attributes[d.MODALITIES_IN_STUDY]["Value"] == ["CT"]
    assert index.query(Query(Level.STUDY, (AnyOf(d.MODALITIES_IN_STUDY, ("XA",)),))) == []


def _mixture() -> list[IndexedInstance]:
    return [
        d.instance(
            "1.1" if number % 4 else "1.2",
            str(number % 3),
            str(number % 5),
            content=str(number % 2),
            received=(number * 7) % 11,
            sop_class=d.CT if number % 3 else d.MR,
            size=number,
            terms={
                d.PATIENT_ID: f"P{number % 3}",
                d.MODALITY: "CT" if number % 3 else "MR",
                d.STUDY_DATE: f"2024010{number % 7 + 1}",
            },
        )
        for number in range(24)
    ]


def test_the_order_of_upserts_does_not_matter(index_spec: IndexSpec, index: Index) -> None:
    rng = random.Random(7)
    seen = []
    ids = [one.uids.instance_id for one in _mixture()]
    for batch in (1, 5, 24):
        mixed = _mixture()
        rng.shuffle(mixed)
        for start in range(0, len(mixed), batch):
            index.upsert(mixed[start : start + batch])
        seen.append(contents(index))
        assert index.remove(ids) == len(set(ids))
        index.refresh()
        assert index.counts() == IndexCounts(0, 0, 0, 0, 0)
    assert seen[0] == seen[1] == seen[2]


# ---- remove


def test_remove_forgets_instances_with_all_their_contents(index: Index) -> None:
    first, later = d.instance(content="a", received=1), d.instance(content="b", received=2)
    index.upsert([first, later, d.instance(sop="2")])
    index.refresh()
    assert index.remove([first.uids.instance_id]) == 1
    index.refresh()
    assert index.counts().instances == 1
    assert index.versions([first.uids.instance_id]) == {}
    assert index.upsert([later]) == [CREATED]


def test_remove_counts_only_what_was_there(index: Index) -> None:
    given = d.instance()
    index.upsert([given])
    index.refresh()
    assert index.remove([given.uids.instance_id, given.uids.instance_id, "e" * 32]) == 1
    index.refresh()
    assert index.remove([given.uids.instance_id]) == 0
    assert index.remove([]) == 0


def test_remove_drops_series_studies_and_patients_left_empty(index: Index) -> None:
    given = [d.instance("1.1"), d.instance("1.2", terms={d.PATIENT_ID: "P2"}, words=("gone",))]
    index.upsert(given)
    index.refresh()
    index.remove([given[1].uids.instance_id])
    index.refresh()
    assert index.counts() == IndexCounts(patients=1, studies=1, series=1, instances=1, bytes=1000)
    assert index.query(Query(Level.STUDY, (AnyOf(d.PATIENT_ID, ("P2",)),))) == []
    assert index.query(Query(Level.STUDY, (Words(("gone",)),))) == []


def test_remove_derives_representatives_and_sets_anew(index: Index) -> None:
    report = d.instance(
        series="2", received=1, sop_class=d.SR, words=("old",), terms={d.MODALITY: "SR", d.STUDY_DESCRIPTION: "old"}
    )
    image = d.instance(series="1", sop="1", received=2, words=("new",), terms={d.STUDY_DESCRIPTION: "new"})
    third = d.instance(series="1", sop="2", received=3, words=("third",), terms={d.STUDY_DESCRIPTION: "third"})
    index.upsert([report, image, third])
    index.refresh()
    index.remove([report.uids.instance_id])
    index.refresh()
    hit = only(index, Level.STUDY, AnyOf(d.STUDY_DESCRIPTION, ("new",)))
    assert hit.attributes[d.MODALITIES_IN_STUDY]["Value"] == ["CT"]
    assert hit.attributes[d.SOP_CLASSES_IN_STUDY]["Value"] == [d.CT]
    assert hit.attributes[d.STUDY_SERIES]["Value"] == [1]
    assert hit.attributes[d.STUDY_INSTANCES]["Value"] == [2]
    assert index.query(Query(Level.STUDY, (AnyOf(d.MODALITIES_IN_STUDY, ("SR",)),))) == []
    assert index.query(Query(Level.STUDY, (Words(("old",)),))) == []
    assert len(index.query(Query(Level.STUDY, (Words(("new",)),)))) == 1
    index.remove([image.uids.instance_id])
    index.refresh()
    assert only(index, Level.STUDY).attributes[d.STUDY_DESCRIPTION]["Value"] == ["third"]
    assert only(index, Level.SERIES).attributes[d.SERIES_INSTANCES]["Value"] == [1]
    assert len(index.query(Query(Level.SERIES, (Words(("third",)),)))) == 1


def test_what_is_left_after_remove_is_as_if_the_rest_alone_had_come(index: Index) -> None:
    mixed = _mixture()
    ids = sorted({one.uids.instance_id for one in mixed})
    gone = set(ids[::2])
    index.upsert([one for one in mixed if one.uids.instance_id not in gone])
    alone = contents(index)
    index.upsert(mixed)
    index.refresh()
    index.remove(sorted(gone))
    assert contents(index) == alone


# ---- scroll


def test_scroll_is_not_disturbed_by_writes(index: Index) -> None:
    index.upsert([d.instance(f"1.{number}") for number in range(30)])
    index.refresh()
    expected = [hit.id for hit in index.query(Query(Level.STUDY))]
    scroll = index.scroll(Query(Level.STUDY), page=4)
    found = [hit.id for hit in itertools.islice(scroll, 6)]
    index.upsert([d.instance(f"2.{number}", terms={d.STUDY_DATE: f"20230{number}01"}) for number in range(1, 9)])
    removed = [d.instance(f"1.{number}").uids for number in range(0, 30, 3)]
    index.remove([uids.instance_id for uids in removed])
    index.refresh()
    found += [hit.id for hit in scroll]
    # What is gone may still be told, or not; the others each once, and what is new not in between.
    gone = {uids.study_id for uids in removed}
    assert [key for key in found if key not in gone] == [key for key in expected if key not in gone]
    assert [key for key in expected if key in found] == found
    assert index.count(Query(Level.STUDY)) == 28


def test_a_scroll_may_be_left_unfinished(index: Index) -> None:
    index.upsert([d.instance(f"1.{number}") for number in range(10)])
    index.refresh()
    scroll = index.scroll(Query(Level.STUDY), page=2)
    next(scroll)
    del scroll
    index.upsert([d.instance("2.1")])
    index.refresh()
    assert index.count(Query(Level.STUDY)) == 11


def test_scroll_honours_offset_and_limit(index: Index) -> None:
    index.upsert([d.instance(f"1.{number}") for number in range(10)])
    index.refresh()
    expected = [hit.id for hit in index.query(Query(Level.STUDY, limit=5, offset=3))]
    assert [hit.id for hit in index.scroll(Query(Level.STUDY, limit=5, offset=3), page=2)] == expected


# ---- state


def test_state_that_is_not_there(index: Index) -> None:
    assert index.get_state("nothing") is None


def test_state_comes_back_as_it_was_put(index: Index) -> None:
    value: dict[str, object] = {"text": "größe", "number": 3, "list": [1, "two"], "deep": {"none": None, "yes": True}}
    put = index.put_state("a/key", value, None)
    assert put.value == value
    assert index.get_state("a/key") == put


def test_state_changes_with_the_version_expected(index: Index) -> None:
    first = index.put_state("key", {"n": 1}, None)
    second = index.put_state("key", {"n": 2}, first.version)
    assert second.version != first.version
    assert index.get_state("key") == State({"n": 2}, second.version)


def test_state_is_not_changed_by_who_comes_late(index: Index) -> None:
    first = index.put_state("key", {"n": 1}, None)
    second = index.put_state("key", {"n": 2}, first.version)
    for expected in (None, first.version, "nonsense"):
        with pytest.raises(ConflictError):
            index.put_state("key", {"n": 3}, expected)
    assert index.get_state("key") == second


def test_state_with_a_version_of_a_key_that_is_not_there_is_a_conflict(index: Index) -> None:
    other = index.put_state("other", {}, None)
    with pytest.raises(ConflictError):
        index.put_state("key", {}, other.version)
    assert index.get_state("key") is None


def test_the_same_value_put_again_has_another_version(index: Index) -> None:
    first = index.put_state("key", {"n": 1}, None)
    second = index.put_state("key", {"n": 1}, first.version)
    with pytest.raises(ConflictError):
        index.put_state("key", {"n": 1}, first.version)
    assert index.get_state("key") == second


# ---- several openings


def test_another_opening_sees_what_was_written(index_spec: IndexSpec, index: Index) -> None:
    other = open_index(index_spec)
    index.upsert([d.instance()])
    index.put_state("key", {"n": 1}, None)
    other.refresh()
    assert other.counts().instances == 1
    state = other.get_state("key")
    assert state is not None
    assert state.value == {"n": 1}
    other.close()


def test_what_was_written_is_there_after_closing(index_spec: IndexSpec, index: Index) -> None:
    index.upsert([d.instance()])
    index.close()
    other = open_index(index_spec)
    other.refresh()
    assert other.counts().instances == 1
    other.close()
