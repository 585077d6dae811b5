"""What every object store promises after the put: listing, deletion, holds, retention, storage classes."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from tests.contracts.objects_adapters import ObjectsSpec, open_objects
from vna.domain.errors import ConflictError, NotFoundError, UnsupportedError
from vna.ports.objects import ObjectStore, Put

# Names whose order differs between keys and paths: "-" and "." sort before "/", "0" after it.
KEYS = ["a-b", "a.c", "a/0", "a/b-c", "a/b.d", "a/b/c", "a/b/c2", "a0", "b/B", "b/_", "b/a", "instances/00/x.dcm"]


@pytest.fixture
def filled(objects: ObjectStore) -> ObjectStore:
    assert all(objects.put_batch([Put(key, key.encode()) for key in reversed(KEYS)]))
    return objects


def keys_of(store: ObjectStore, prefix: str = "", after: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, after)]


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_objects_are_listed_in_key_order(filled: ObjectStore) -> None:
    assert keys_of(filled) == sorted(KEYS)


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b/", "a/b/c", "a-", "b/B", "c", "a/b/c2x", "instances/"])
def test_a_prefix_need_not_end_at_a_slash(filled: ObjectStore, prefix: str) -> None:
    expected = sorted(key for key in KEYS if key.startswith(prefix))
    assert keys_of(filled, prefix) == expected
    for after in ("", "a-b", "a.c", "a/", "a/b", "a/b/c", "a/b/c1", "a/b0", "a1", "b/B", "zz"):
        assert keys_of(filled, prefix, after) == [key for key in expected if key > after]


def test_a_listing_says_size_and_time(filled: ObjectStore) -> None:
    for info in filled.list():
        assert info.size == len(info.key)
        assert info == filled.head(info.key) or abs(info.modified - _modified(filled, info.key)) < timedelta(seconds=1)


def _modified(store: ObjectStore, key: str) -> datetime:
    info = store.head(key)
    assert info is not None
    return info.modified


def test_a_bad_prefix_is_refused(filled: ObjectStore) -> None:
    for prefix in ("/a", "../", "a//b", "a/../b", "a b", "~tmp"):
        with pytest.raises(ValueError, match="not the beginning of a key"):
            list(filled.list(prefix))


@pytest.mark.slow
def test_more_objects_than_a_page_are_listed_once_each(objects: ObjectStore) -> None:
    keys = [f"many/{number % 7}/{number:05d}" for number in range(1100)]
    objects.put_batch([Put(key, b"x") for key in keys])
    assert keys_of(objects, "many/") == sorted(keys)
    assert [info.key for info in islice(objects.list("many/"), 3)] == sorted(keys)[:3]
    after, paged = "", []
    while page := [info.key for info in islice(objects.list("many/", after), 300)]:
        paged += page
        after = page[-1]
    assert paged == sorted(keys)


def test_a_deleted_object_is_gone_and_its_key_free(filled: ObjectStore) -> None:
    filled.delete("a/b/c")
    assert filled.head("a/b/c") is None
    assert "a/b/c" not in keys_of(filled)
    with pytest.raises(NotFoundError):
        filled.get("a/b/c")
    assert filled.put("a/b/c", b"new") is True
    assert filled.get("a/b/c") == b"new"


def test_to_delete_a_missing_key_is_fine(filled: ObjectStore) -> None:
    filled.delete("no/such")
    filled.delete("a/b/c/below")
    filled.delete("a/b")
    assert keys_of(filled) == sorted(KEYS)


def test_no_older_document_comes_back_when_the_newest_is_deleted(objects: ObjectStore) -> None:
    for data in (b"1", b"2", b"3"):
        objects.replace("facts/a", data)
    objects.replace("facts/a.longer", b"stays")
    objects.delete("facts/a")
    assert objects.head("facts/a") is None
    assert keys_of(objects) == ["facts/a.longer"]


def test_a_held_object_cannot_be_deleted_until_the_hold_is_lifted(filled: ObjectStore) -> None:
    filled.set_legal_hold("a/b/c", on=True)
    filled.set_legal_hold("a/b/c", on=True)
    with pytest.raises(ConflictError, match="hold"):
        filled.delete("a/b/c")
    assert filled.get("a/b/c") == b"a/b/c"
    assert keys_of(filled) == sorted(KEYS)
    filled.set_legal_hold("a/b/c", on=False)
    filled.set_legal_hold("a/b/c", on=False)
    filled.delete("a/b/c")
    assert filled.head("a/b/c") is None


def test_a_hold_is_seen_by_another_process(filled: ObjectStore, objects_spec: ObjectsSpec) -> None:
    filled.set_legal_hold("a-b", on=True)
    with closing(open_objects(objects_spec)) as other, pytest.raises(ConflictError):
        other.delete("a-b")


def test_a_hold_ends_with_its_object(filled: ObjectStore) -> None:
    filled.set_legal_hold("a-b", on=True)
    filled.set_legal_hold("a-b", on=False)
    filled.delete("a-b")
    filled.put("a-b", b"new")
    filled.delete("a-b")
    assert filled.head("a-b") is None


def test_a_retained_object_cannot_be_deleted_before_its_time(filled: ObjectStore) -> None:
    filled.set_retention("a-b", soon(2))
    with pytest.raises(ConflictError, match="retained"):
        filled.delete("a-b")
    assert filled.get("a-b") == b"a-b"
    # A store may count in whole seconds, rounded up.
    time.sleep(3.1)
    filled.delete("a-b")
    assert filled.head("a-b") is None


def test_retention_is_lengthened_and_never_shortened(filled: ObjectStore) -> None:
    until = soon(3600)
    filled.set_retention("a-b", until)
    filled.set_retention("a-b", until)
    filled.set_retention("a-b", until + timedelta(hours=1))
    for shorter in (until, soon(-10)):
        with pytest.raises(ConflictError, match="shortened"):
            filled.set_retention("a-b", shorter)


def test_a_retention_that_is_past_forbids_nothing(filled: ObjectStore) -> None:
    filled.set_retention("a-b", soon(-10))
    filled.delete("a-b")
    assert filled.head("a-b") is None


def test_a_hold_outlasts_a_retention(filled: ObjectStore) -> None:
    filled.set_retention("a-b", soon(1))
    filled.set_legal_hold("a-b", on=True)
    time.sleep(2.1)
    with pytest.raises(ConflictError):
        filled.delete("a-b")


def test_facts_of_a_missing_object_are_refused(objects: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        objects.set_legal_hold("no/such", on=True)
    with pytest.raises(NotFoundError):
        objects.set_retention("no/such", soon(60))
    with pytest.raises(NotFoundError):
        objects.set_storage_class("no/such", "STANDARD")


def test_a_storage_class_is_kept_or_refused(objects: ObjectStore, objects_spec: ObjectsSpec, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    objects.put("class/a", source)
    if objects_spec.keeps_classes:
        objects.set_storage_class("class/a", "REDUCED_REDUNDANCY")
        expected = "REDUCED_REDUNDANCY"
    else:
        with pytest.raises(UnsupportedError):
            objects.set_storage_class("class/a", "REDUCED_REDUNDANCY")
        expected = "STANDARD"
    info = objects.head("class/a")
    assert info is not None
    assert info.storage_class == expected
    assert [info.storage_class for info in objects.list("class/")] == [expected]
    assert objects.get("class/a") == b"x" * 1000
    objects.set_storage_class("class/a", "STANDARD")
    objects.delete("class/a")
    assert objects.head("class/a") is None


def test_a_hold_survives_a_change_of_storage_class(objects: ObjectStore, objects_spec: ObjectsSpec) -> None:
    objects.put("class/a", b"x")
    objects.set_legal_hold("class/a", on=True)
    if objects_spec.keeps_classes:
        objects.set_storage_class("class/a", "REDUCED_REDUNDANCY")
    with pytest.raises(ConflictError):
        objects.delete("class/a")
    objects.set_legal_hold("class/a", on=False)
    objects.delete("class/a")
    assert objects.head("class/a") is None


def test_retention_survives_a_change_of_storage_class(objects: ObjectStore, objects_spec: ObjectsSpec) -> None:
    objects.put("class/a", b"x")
    objects.set_retention("class/a", soon(3600))
    if objects_spec.keeps_classes:
        objects.set_storage_class("class/a", "REDUCED_REDUNDANCY")
    with pytest.raises(ConflictError):
        objects.delete("class/a")


def test_a_key_that_is_a_folder_of_others_is_kept_or_refused(objects: ObjectStore) -> None:
    objects.put("x/y", b"below")
    for key in ("x", "x/y/z"):
        try:
            assert objects.put(key, b"data") is True
        except UnsupportedError:
            assert objects.head(key) is None
        else:
            assert objects.get(key) == b"data"
    assert objects.get("x/y") == b"below"


def test_a_store_that_works_passes_its_check(objects: ObjectStore) -> None:
    objects.check()
    assert keys_of(objects) == []
