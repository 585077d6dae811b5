"""Which content is current, whatever the order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.index_data import instance
from vna.domain.records import IndexedInstance
from vna.index.elastic_versions import Version, merge
from vna.ports.index import Outcome, Upserted

CONTENTS = st.lists(
    st.builds(
        lambda text, received: instance(content=text, received=received), st.sampled_from("abc"), st.integers(0, 3)
    ),
    min_size=1,
    max_size=8,
)


def test_the_first_content_is_created_and_changes_the_document() -> None:
    one = instance()
    merged = merge([], [one])
    assert merged.outcomes == [Upserted(Outcome.CREATED)]
    assert merged.current is one
    assert (merged.changed, merged.replaced) == (True, False)


def test_the_same_content_changes_nothing() -> None:
    one = instance()
    merged = merge([Version(one.received_us, one.digest)], [one])
    assert merged.outcomes == [Upserted(Outcome.DUPLICATE)]
    assert not merged.changed


def test_an_earlier_content_replaces_the_current_one() -> None:
    late, soon = instance(content="a", received=2), instance(content="b", received=1)
    merged = merge([Version(late.received_us, late.digest)], [soon])
    assert merged.outcomes == [Upserted(Outcome.CONFLICT, current=True, other_digest=late.digest)]
    assert (merged.changed, merged.replaced) == (True, True)
    assert merged.current is soon


def test_a_later_content_is_kept_beside_the_current_one() -> None:
    soon, late = instance(content="a", received=1), instance(content="b", received=2)
    merged = merge([Version(soon.received_us, soon.digest)], [late])
    assert merged.outcomes == [Upserted(Outcome.CONFLICT, current=False, other_digest=soon.digest)]
    assert (merged.changed, merged.replaced, merged.current) == (True, False, None)


@given(CONTENTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_and_batches_do_not_matter(contents: list[IndexedInstance], rng: object, size: int) -> None:
    shuffled = list(contents)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    versions: list[Version] = []
    for start in range(0, len(shuffled), size):
        versions = merge(versions, shuffled[start : start + size]).versions
    assert versions == merge([], contents).versions
    first = min(contents, key=lambda one: one.precedence)
    assert versions[0] == Version(first.received_us, first.digest)


@given(CONTENTS)
def test_exactly_one_content_is_created_and_each_other_one_is_a_conflict_once(contents: list[IndexedInstance]) -> None:
    outcomes = [found.outcome for found in merge([], contents).outcomes]
    assert outcomes.count(Outcome.CREATED) == 1
    assert outcomes.count(Outcome.CONFLICT) == len({one.digest for one in contents}) - 1
    again = merge(merge([], contents).versions, [replace(one) for one in contents])
    assert {found.outcome for found in again.outcomes} == {Outcome.DUPLICATE}
    assert not again.changed
