"""Random changes and queries of the SQLite index, against a model that is as simple as the port's words."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vna.domain.identity import InstanceUids, identity, object_key, patient_identity
from vna.domain.levels import visible_at
from vna.domain.origin import Origin
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Facet, Level, Query, Range, Wildcard, Words
from vna.domain.records import IndexedInstance
from vna.index.sqlite import SqliteIndex
from vna.ports.index import IndexCounts, Outcome, Upserted
from vna.search import gathered

NAME, PATIENT, ISSUER = "00100010", "00100020", "00100021"
STUDY, DATE, TIME, DESCRIPTION = "0020000D", "00080020", "00080030", "00081030"
SERIES, MODALITY, SERIES_NUMBER, STEP = "0020000E", "00080060", "00200011", "00400275.00400009"
SOP, NUMBER, PRIVATE = "00080018", "00200013", '0029xx08@SOME "CREATOR" \\%'
MODALITIES, CLASSES = "00080061", "00080062"
OF_PATIENT, OF_STUDY, OF_SERIES = (NAME, PATIENT, ISSUER), (DATE, TIME, DESCRIPTION), (MODALITY, SERIES_NUMBER, STEP)
OF_INSTANCE = (NUMBER, PRIVATE)
PATHS = (*OF_PATIENT, *OF_STUDY, *OF_SERIES, *OF_INSTANCE, STUDY, SERIES, SOP, MODALITIES, CLASSES, "00189999")

TEXTS = ("a", "ab", "b", "B", "a*b", "a?b", "%", "_", "[a]", "é", "\U0001f600b", "10", "9")
DATES, TIMES = ("20240101", "20240102", "20231231"), ("000000.000000", "101500.000000", "235959.999999")
WORDS = ("head", "he", "ax", "größe", "o'x")


def values_of(path: str) -> tuple[str, ...]:
    return {DATE: DATES, TIME: TIMES, NUMBER: ("1", "2", "10", "x"), SERIES_NUMBER: ("1", "2", "10", "x")}.get(
        path, TEXTS
    )


@st.composite
def instances(draw: st.DrawFn) -> IndexedInstance:
    uids = InstanceUids(draw(st.sampled_from(("1.1", "1.2"))), draw(st.sampled_from("12")), draw(st.sampled_from("12")))
    content, received = draw(st.sampled_from("ab")), draw(st.integers(0, 3))
    # All else follows from these, as it does when an instance is parsed; few seeds make equal ones likely.
    seed = draw(st.integers(0, 3))
    digest = hashlib.sha256(f"{uids}{content}{seed}".encode()).hexdigest()
    chance = iter(hashlib.sha256(f"{digest}{received}".encode()).digest() * 4)
    terms: dict[str, tuple[str, ...]] = {STUDY: (uids.study,), SERIES: (uids.series,), SOP: (uids.sop,)}
    for path in (*OF_PATIENT, *OF_STUDY, *OF_SERIES, *OF_INSTANCE):
        several = 1 if path in (DATE, TIME, NUMBER, SERIES_NUMBER) else 2
        options = values_of(path)
        found = {options[next(chance) % len(options)] for _ in range(next(chance) % (several + 1))}
        if found:
            terms[path] = tuple(sorted(found))
    return IndexedInstance(
        uids=uids,
        sop_class=f"1.{next(chance) % 2}",
        transfer_syntax="1.2",
        digest=digest,
        size=next(chance),
        received_us=received,
        origin=Origin("import"),
        key=object_key(uids, digest),
        attributes={path: {"vr": "LO", "Value": list(texts)} for path, texts in terms.items() if len(path) == 8},
        terms=terms,
        words=tuple(word for word in WORDS if next(chance) % 2),
    )


# ---- the model


class Model:
    """All contents, and nothing derived."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[str, IndexedInstance]] = {}

    def upsert(self, batch: Iterable[IndexedInstance]) -> list[Upserted]:
        taken = []
        for one in batch:
            known = self.contents.setdefault(one.uids.instance_id, {})
            others = sorted(other.precedence for other in known.values() if other.digest != one.digest)
            outcome = Outcome.CREATED if not known else Outcome.CONFLICT
            if one.digest in known:
                outcome = Outcome.DUPLICATE
            if one.digest not in known or one.received_us < known[one.digest].received_us:
                known[one.digest] = one
            taken.append((outcome, one, others[0][1] if others else ""))
        return [
            Upserted(outcome, self.current(one.uids.instance_id).digest == one.digest, other)
            for outcome, one, other in taken
        ]

    def remove(self, ids: Iterable[str]) -> int:
        return sum(self.contents.pop(one, None) is not None for one in set(ids))

    def current(self, instance_id: str) -> IndexedInstance:
        return min(self.contents[instance_id].values(), key=lambda one: one.precedence)

    def versions(self) -> dict[str, list[str]]:
        return {
            key: [one.digest for one in sorted(known.values(), key=lambda one: one.precedence)]
            for key, known in self.contents.items()
        }

    def found(self) -> list[IndexedInstance]:
        return [self.current(key) for key in self.contents]

    def groups(self, level: Level) -> dict[str, list[IndexedInstance]]:
        grouped: dict[str, list[IndexedInstance]] = {}
        for one in self.found():
            key = {Level.STUDY: one.uids.study_id, Level.SERIES: one.uids.series_id}.get(level, one.uids.instance_id)
            grouped.setdefault(key, []).append(one)
        return grouped

    def entities(self, level: Level) -> list[Entity]:
        return [Entity(level, key, members) for key, members in self.groups(level).items()]

    def query(self, query: Query) -> list[str]:
        if query.level is not Level.PATIENT:
            return [one.id for one in sorted(self.matching(query), key=lambda one: one.order)]
        patients: dict[str, Entity] = {}
        for study in sorted(self.matching(query), key=lambda one: one.first):
            patients.setdefault(study.patient, study)
        return sorted(patients, key=lambda key: (patients[key].text(NAME), key))

    def matching(self, query: Query) -> list[Entity]:
        level = Level.STUDY if query.level is Level.PATIENT else query.level
        return [
            one
            for one in self.entities(level)
            if all(matches(one, criterion, query.level) for criterion in query.criteria)
        ]

    def counts(self) -> IndexCounts:
        studies = self.entities(Level.STUDY)
        return IndexCounts(
            len({one.patient for one in studies}),
            len(studies),
            len(self.groups(Level.SERIES)),
            len(self.contents),
            sum(one.size for one in self.found()),
        )


class Entity:
    """A study, series or instance of the model."""

    def __init__(self, level: Level, key: str, members: list[IndexedInstance]) -> None:
        self.id, self.members, self.level = key, members, level
        self.head = min(members, key=lambda one: (one.received_us, one.uids.instance_id))
        self.first = (self.head.received_us, self.head.uids.instance_id)

    def text(self, path: str) -> str:
        return self.head.terms.get(path, ("",))[0]

    @property
    def patient(self) -> str:
        return patient_identity(self.text(PATIENT), self.text(ISSUER))

    @property
    def series_heads(self) -> list[IndexedInstance]:
        grouped: dict[str, list[IndexedInstance]] = {}
        for one in self.members:
            grouped.setdefault(one.uids.series_id, []).append(one)
        return [Entity(Level.SERIES, key, members).head for key, members in grouped.items()]

    def terms(self, path: str, level: Level) -> tuple[str, ...]:
        if level is Level.INSTANCE:
            return tuple(self.head.terms.get(path, ()))
        if not visible_at(path, level):
            return ()
        if level is Level.STUDY and path == MODALITIES:
            return tuple({value for head in self.series_heads for value in head.terms.get(MODALITY, ())})
        if level is Level.STUDY and path == CLASSES:
            return tuple({one.sop_class for one in self.members})
        return tuple(self.head.terms.get(path, ()))

    def words(self, of_series: dict[str, IndexedInstance]) -> set[str]:
        if self.level is Level.INSTANCE:
            return set(of_series[self.head.uids.series_id].words)
        return {word for head in self.series_heads for word in head.words}

    @property
    def order(self) -> tuple[object, ...]:
        uids = self.head.uids
        if self.level is Level.STUDY:
            return (_descending(self.text(DATE)), _descending(self.text(TIME)), self.id)
        if self.level is Level.SERIES:
            return (uids.study_id, _number(self.text(SERIES_NUMBER)), self.id)
        return (uids.study_id, uids.series_id, _number(self.text(NUMBER)), self.id)


def _descending(text: str) -> float:
    return -float(text) if text else float("inf")


def _number(text: str) -> float:
    return float(text) if text.isdigit() else float("inf")


def matches(one: Entity, criterion: Criterion, level: Level) -> bool:
    if isinstance(criterion, Words):
        raise TypeError(criterion)
    if isinstance(criterion, DateTimeRange):
        times = one.terms(criterion.time_path, level) or ("000000.000000",)
        moments = [day + time for day in one.terms(criterion.date_path, level) for time in times]
        return any(_within(moment, criterion.low, criterion.high) for moment in moments)
    terms = one.terms(criterion.path, level)
    if isinstance(criterion, AnyOf):
        return any(term in criterion.values for term in terms) or (not terms and "" in criterion.values)
    if isinstance(criterion, Range):
        return any(_within(term, criterion.low, criterion.high) for term in terms)
    pattern = re.compile(
        "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in criterion.pattern),
        re.DOTALL,
    )
    return any(pattern.fullmatch(term) for term in terms)


def _within(text: str, low: str | None, high: str | None) -> bool:
    raw = text.encode()
    return (low is None or low.encode() <= raw) and (high is None or raw <= high.encode())


# ---- strategies


@st.composite
def criteria(draw: st.DrawFn) -> Criterion:
    path = draw(st.sampled_from(PATHS))
    values = (*values_of(path), "1.1", "1", "1.0", "")
    kind = draw(st.sampled_from(("any", "wild", "range", "moment")))
    if kind == "any":
        return AnyOf(path, tuple(draw(st.lists(st.sampled_from(values), max_size=3))))
    if kind == "wild":
        pieces = st.sampled_from(("*", "?", "a", "b", "[", "]", "%", "_", "1", ".", "2024", "é", "^", "\\"))
        return Wildcard(path, "".join(draw(st.lists(pieces, max_size=5))))
    ends = st.one_of(st.none(), st.sampled_from(values))
    if kind == "range":
        return Range(path, draw(ends), draw(ends))
    moments = st.one_of(st.none(), st.sampled_from([day + time for day in DATES for time in TIMES]))
    return DateTimeRange(draw(st.sampled_from((DATE, "00189999"))), TIME, draw(moments), draw(moments))


QUERIES = st.builds(
    Query,
    level=st.sampled_from(Level),
    criteria=st.lists(criteria(), max_size=2).map(tuple),
    limit=st.one_of(st.none(), st.integers(0, 4)),
    offset=st.integers(0, 3),
)
BATCHES = st.lists(instances(), min_size=1, max_size=6)
IDS = [InstanceUids(study, series, sop).instance_id for study in ("1.1", "1.2") for series in "12" for sop in "12"]
STEPS = st.lists(st.one_of(BATCHES, st.lists(st.sampled_from(IDS), max_size=4)), max_size=6)
# Where there is a file system in memory, an index is made there: a hundred of them wait for no disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SLOW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def empty() -> Iterator[SqliteIndex]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        index = SqliteIndex(Path(folder) / "index.sqlite")
        yield index
        index.close()


def run(index: SqliteIndex, model: Model, steps: list[list[IndexedInstance] | list[str]]) -> None:
    for step in steps:
        batch = [one for one in step if isinstance(one, IndexedInstance)]
        ids = [one for one in step if isinstance(one, str)]
        assert index.upsert(batch) == model.upsert(batch)
        assert index.remove(ids) == model.remove(ids)


def contents(index: SqliteIndex) -> list[object]:
    seen: list[object] = [index.counts(), index.versions(IDS)]
    for level in Level:
        seen += [(hit.id, hit.attributes, hit.location) for hit in index.query(Query(level))]
    for word in WORDS:
        seen += [[hit.id for hit in index.query(Query(level, (Words((word,)),)))] for level in Level]
    return seen


@SLOW
@given(steps=STEPS, queries=st.lists(QUERIES, min_size=1, max_size=12))
def test_queries_answer_as_the_model_does(steps: list[list[IndexedInstance] | list[str]], queries: list[Query]) -> None:
    model = Model()
    with empty() as index:
        run(index, model, steps)
        assert index.counts() == model.counts()
        assert index.versions(IDS) == model.versions()
        for query in queries:
            expected = model.query(query)
            end = None if query.limit is None else query.offset + query.limit
            assert [hit.id for hit in index.query(query)] == expected[query.offset : end]
            assert [hit.id for hit in index.scroll(query, page=1)] == expected[query.offset : end]
            assert index.count(query) == len(expected)


@SLOW
@given(
    steps=STEPS, words=st.lists(st.sampled_from(("h", "he", "hea", "grö", "gr\xf6\xdfe", "o'", "x", "axe")), max_size=2)
)
def test_words_answer_as_the_model_does(steps: list[list[IndexedInstance] | list[str]], words: list[str]) -> None:
    model = Model()
    with empty() as index:
        run(index, model, steps)
        of_series = {one.id: one.head for one in model.entities(Level.SERIES)}
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
            expected = {
                one.id
                for one in model.entities(level)
                if all(any(known.startswith(word) for known in one.words(of_series)) for word in words)
            }
            assert {hit.id for hit in index.query(Query(level, (Words(tuple(words)),)))} == expected


@SLOW
@given(steps=STEPS, level=st.sampled_from(Level), path=st.sampled_from(PATHS), criterion=criteria())
def test_facets_answer_as_the_model_does(
    steps: list[list[IndexedInstance] | list[str]], level: Level, path: str, criterion: Criterion
) -> None:
    model = Model()
    query = Query(level, (criterion,), limit=1)
    with empty() as index:
        run(index, model, steps)
        having: dict[str, set[str]] = {}
        for one in model.matching(query):
            for value in one.terms(path, level):
                having.setdefault(value, set()).add(one.patient if level is Level.PATIENT else one.id)
        counted = Counter({value: len(owners) for value, owners in having.items()})
        expected = sorted(counted.items(), key=lambda item: (-item[1], item[0].encode()))
        assert index.facets(query, [path]) == {path: [Facet(*item) for item in expected]}


@SLOW
@given(steps=STEPS)
def test_attributes_are_those_of_the_representatives(steps: list[list[IndexedInstance] | list[str]]) -> None:
    model = Model()
    with empty() as index:
        run(index, model, steps)
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
            heads = {one.id: one for one in model.entities(level)}
            for hit in index.query(Query(level)):
                one = heads[hit.id]
                for path, attribute in one.head.attributes.items():
                    assert hit.attributes.get(path) == (attribute if visible_at(path, level) else None)
                if level is Level.STUDY:
                    assert hit.attributes["00201208"]["Value"] == [len(one.members)]
                    assert hit.attributes["00201206"]["Value"] == [len(one.series_heads)]
                    assert hit.attributes[MODALITIES].get("Value", []) == sorted(one.terms(MODALITIES, level))
                    assert hit.attributes[CLASSES]["Value"] == sorted(one.terms(CLASSES, level))


@SLOW
@given(steps=STEPS, level=st.sampled_from((Level.SERIES, Level.INSTANCE)))
def test_what_is_gathered_above_is_that_of_the_model(
    steps: list[list[IndexedInstance] | list[str]], level: Level
) -> None:
    model = Model()
    with empty() as index:
        run(index, model, steps)
        studies = {one.head.uids.study_id: one for one in model.entities(Level.STUDY)}
        series = {one.id: one for one in model.entities(Level.SERIES)}
        owners = {one.id: one.head.uids for one in model.entities(level)}
        plain = index.query(Query(level))
        found = gathered.with_gathered(index, level, plain, {*gathered.OF_STUDY, *gathered.OF_SERIES, NAME})
        assert [hit.id for hit in found] == [hit.id for hit in plain]
        for before, hit in zip(plain, found, strict=True):
            study, own = studies[owners[hit.id].study_id], series[owners[hit.id].series_id]
            assert hit.attributes["00201206"]["Value"] == [len(study.series_heads)]
            assert hit.attributes["00201208"]["Value"] == [len(study.members)]
            assert hit.attributes["00201209"]["Value"] == [len(own.members)]
            assert hit.attributes[MODALITIES].get("Value", []) == sorted(study.terms(MODALITIES, Level.STUDY))
            assert hit.attributes[CLASSES]["Value"] == sorted(study.terms(CLASSES, Level.STUDY))
            assert before.attributes.items() <= hit.attributes.items()
        assert gathered.with_gathered(index, level, plain, {NAME}) == plain


@SLOW
@given(batch=st.lists(instances(), max_size=10), data=st.data())
def test_order_and_batching_do_not_matter(batch: list[IndexedInstance], data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(batch))
    cut = data.draw(st.integers(0, len(mixed)))
    with empty() as one, empty() as other:
        one.upsert(batch)
        other.upsert(mixed[:cut])
        other.upsert(mixed[cut:])
        assert contents(one) == contents(other)


@SLOW
@given(text=st.text(), pattern=st.text(alphabet="ab*?[]^%-\U0001f600", max_size=6))
def test_identities_and_patterns_of_any_text(text: str, pattern: str) -> None:
    """Texts with any character make an identity, and no pattern is an error."""
    assert len(identity("study", text)) == 32
    with empty() as index:
        assert index.query(Query(Level.STUDY, (Wildcard(NAME, pattern),))) == []


def test_the_model_of_wildcards_agrees_with_the_shell_where_both_mean_the_same() -> None:
    for pattern in ("a*", "?b", "*"):
        for text in TEXTS:
            one = IndexedInstance(
                InstanceUids("1", "1", "1"), "1", "1", "0" * 64, 0, 0, Origin("import"), "k", {}, {NAME: (text,)}
            )
            entity = Entity(Level.STUDY, "x", [one])
            assert matches(entity, Wildcard(NAME, pattern), Level.STUDY) == fnmatch.fnmatchcase(text, pattern)
