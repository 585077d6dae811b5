"""What every object store promises of damage: it is mended by proved bytes, and kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import xxhash

from tests.contracts.objects_adapters import DATA
from vna.domain.errors import ConflictError, IntegrityError, NotFoundError
from vna.domain.file_range import FileRange
from vna.ports.objects import ObjectStore, Put
from vna.store.folder import FolderStore

KEY = "instances/ab/study/series/instance.dcm"
LARGE = DATA * 3


def damage(objects: ObjectStore, key: str, data: bytes) -> None:
    """Change an object as a disk or an operator does, behind the store's back."""
    if isinstance(objects, FolderStore):
        (objects.path / key).write_bytes(data)
    else:
        connection = cast("Any", objects)._s3
        connection.client.put_object(Bucket=connection.bucket, Key=key, Body=data)


def source_of(kind: str, folder: Path) -> bytes | Path | FileRange:
    path = folder / "source"
    if kind == "bytes":
        return b"good bytes"
    if kind == "file":
        path.write_bytes(b"good bytes")
        return path
    content = b"good bytes" if kind == "range" else LARGE
    path.write_bytes(b"before" + content + b"after")
    return FileRange(path, 6, len(content), xxhash.xxh3_64_intdigest(content))


@pytest.mark.parametrize("kind", ["bytes", "file", "range", "range in parts"])
def test_a_damaged_object_is_mended_and_the_damage_is_kept(objects: ObjectStore, tmp_path: Path, kind: str) -> None:
    objects.put(KEY, b"good bytes")
    damage(objects, KEY, b"bad")
    kept = objects.mend(Put(KEY, source_of(kind, tmp_path)))
    assert objects.get(KEY) == (LARGE if "parts" in kind else b"good bytes")
    assert kept.startswith(f"damaged/{KEY}.")
    assert objects.get(kept) == b"bad"
    assert [info.key for info in objects.list()] == sorted([KEY, kept])
    # The source is the caller's again.
    (tmp_path / "source").write_bytes(b"other")
    assert objects.get(KEY) == (LARGE if "parts" in kind else b"good bytes")


def test_damage_is_told_from_other_damage(objects: ObjectStore) -> None:
    objects.put(KEY, b"good bytes")
    kept = set()
    for bad in (b"bad", b"worse"):
        damage(objects, KEY, bad)
        kept.add(objects.mend(Put(KEY, b"good bytes")))
    assert {objects.get(key) for key in kept} == {b"bad", b"worse"}


def test_to_mend_what_is_gone_is_to_put_it(objects: ObjectStore) -> None:
    assert objects.mend(Put(KEY, b"good bytes")) == ""
    assert objects.get(KEY) == b"good bytes"
    assert [info.key for info in objects.list()] == [KEY]


def test_nothing_is_mended_by_bytes_that_are_wrong(objects: ObjectStore, tmp_path: Path) -> None:
    objects.put(KEY, b"good bytes")
    damage(objects, KEY, b"bad")
    source = source_of("range", tmp_path)
    assert isinstance(source, FileRange)
    source.path.write_bytes(b"before" + b"evil bytes" + b"after")
    with pytest.raises(IntegrityError):
        objects.mend(Put(KEY, source))
    source.path.unlink()
    with pytest.raises(NotFoundError):
        objects.mend(Put(KEY, source))
    assert objects.get(KEY) == b"bad"


def test_a_mended_object_is_held_and_retained_as_it_was(objects: ObjectStore) -> None:
    for name, hold in (("held", True), ("retained", False)):
        objects.put(name, b"good bytes")
        if hold:
            objects.set_legal_hold(name, on=True)
        else:
            objects.set_retention(name, datetime.now(UTC) + timedelta(seconds=60))
        if isinstance(objects, FolderStore):
            damage(objects, name, b"bad")
        objects.mend(Put(name, b"good bytes"))
        assert objects.get(name) == b"good bytes"
        with pytest.raises(ConflictError):
            objects.delete(name)


@pytest.mark.parametrize("key", ["", "a//b", "../a"])
def test_a_bad_key_is_not_mended(objects: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        objects.mend(Put(key, b"x"))


def test_a_long_key_is_mended(objects: ObjectStore) -> None:
    key = "/".join(["a" * 127] * 4)
    objects.put(key, b"good bytes")
    damage(objects, key, b"bad")
    kept = objects.mend(Put(key, b"good bytes"))
    assert objects.get(kept) == b"bad"
    assert objects.get(key) == b"good bytes"


def test_a_check_leaves_nothing(objects: ObjectStore) -> None:
    for _ in range(3):
        objects.check()
    assert list(objects.list()) == []
