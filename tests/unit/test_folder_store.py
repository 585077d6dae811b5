"""The local folder store: order of writes and syncs, errors of the file system, what a crash leaves."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    ConflictError,
    OutOfResourcesError,
    UnavailableError,
)
from vna.ports.objects import Put
from vna.store.folder import FolderStore
from vna.store.keys import check_key, check_prefix


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    with closing(FolderStore(tmp_path / "objects")) as opened:
        yield opened


def temporary(store: FolderStore) -> list[str]:
    return os.listdir(store.path / "~tmp")


def failing(number: int) -> Callable[..., Any]:
    def fail(*_args: object, **_more: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record what is synced and named, in order, while it is really done."""
    seen: list[tuple[str, str]] = []
    link, rename, fsync, fdatasync = os.link, os.rename, os.fsync, os.fdatasync

    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def recorded_link(source: str, target: str) -> None:
        link(source, target)
        seen.append(("link", f"{source} {target}"))

    def recorded_rename(source: str, target: str) -> None:
        rename(source, target)
        seen.append(("rename", f"{source} {target}"))

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        seen.append(("fsync", path_of(descriptor)))

    def recorded_fdatasync(descriptor: int) -> None:
        fdatasync(descriptor)
        seen.append(("fdatasync", path_of(descriptor)))

    monkeypatch.setattr(os, "link", recorded_link)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "fdatasync", recorded_fdatasync)
    return seen


def test_bytes_are_durable_before_they_have_a_name_and_names_before_the_return(
    store: FolderStore, calls: list[tuple[str, str]]
) -> None:
    keys = [f"a/{number % 3}/{number}" for number in range(20)]
    store.put_batch([Put(key, b"x") for key in keys])
    kinds = [kind for kind, _ in calls]
    assert kinds.count("fdatasync") == kinds.count("link") == 20
    assert kinds.index("link") > max(index for index, kind in enumerate(kinds) if kind == "fdatasync")
    assert kinds.index("fsync") > max(index for index, kind in enumerate(kinds) if kind == "link")
    synced = [path for kind, path in calls if kind == "fsync"]
    expected = [store.path, *(store.path / below for below in ("a", "a/0", "a/1", "a/2"))]
    assert sorted(synced) == sorted(map(str, expected))


def test_a_folder_that_is_durable_is_synced_alone(store: FolderStore, calls: list[tuple[str, str]]) -> None:
    store.put("a/b/1", b"x")
    calls.clear()
    store.put("a/b/2", b"x")
    assert [path for kind, path in calls if kind == "fsync"] == [str(store.path / "a/b")]


def test_an_object_of_somebody_else_is_made_durable_too(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    # The other may not have come to its sync yet, and we say that the object is there.
    with closing(FolderStore(tmp_path)) as other, closing(FolderStore(tmp_path)) as store:
        other.put("a/b/1", b"x")
        calls.clear()
        assert store.put("a/b/1", b"x") is False
    assert {path for kind, path in calls if kind == "fsync"} == {str(tmp_path / below) for below in ("", "a", "a/b")}


def test_a_document_is_durable_before_it_replaces(store: FolderStore, calls: list[tuple[str, str]]) -> None:
    store.replace("facts/a", b"1")
    kinds = [kind for kind, _ in calls]
    assert kinds[:2] == ["fdatasync", "rename"]
    assert set(kinds[2:]) == {"fsync"}


def test_a_file_of_the_same_file_system_is_linked(store: FolderStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store.put("a", source)
    assert os.path.samefile(source, store.path / "a")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_a_file_that_cannot_be_linked_is_copied(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    link = os.link

    def refuse_source(path: str, target: str) -> None:
        if path == str(source):
            raise OSError(number, os.strerror(number))
        link(path, target)

    monkeypatch.setattr(os, "link", refuse_source)
    assert store.put("a", source) is True
    assert store.get("a") == b"x"
    assert not os.path.samefile(source, store.path / "a")
    assert temporary(store) == []


@pytest.mark.parametrize("call", ["write", "fdatasync", "link", "fsync"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, OutOfResourcesError),
        (errno.EDQUOT, OutOfResourcesError),
        (errno.EMFILE, OutOfResourcesError),
        (errno.EIO, UnavailableError),
        (errno.EROFS, UnavailableError),
    ],
)
def test_a_failed_put_is_an_error_to_retry_and_leaves_no_part(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[ArchiveError]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        with pytest.raises(expected) as caught:
            store.put_batch([Put(f"a/{number}", b"whole") for number in range(5)])
    assert caught.value.retry
    assert temporary(store) == []
    assert {store.get(info.key) for info in store.list()} <= {b"whole"}
    store.put_batch([Put(f"a/{number}", b"whole") for number in range(5)])
    assert [data for _, data in store.get_many([f"a/{number}" for number in range(5)])] == [b"whole"] * 5


def test_what_a_crash_left_is_removed_after_a_day(tmp_path: Path) -> None:
    FolderStore(tmp_path).close()
    for name, age in (("old", 90_000), ("young", 80_000)):
        left = tmp_path / "~tmp" / name
        left.write_bytes(b"part")
        os.utime(left, (time.time() - age,) * 2)
    with closing(FolderStore(tmp_path)) as store:
        assert temporary(store) == ["young"]
        assert list(store.list()) == []


def test_a_folder_that_was_removed_meanwhile_is_made_again(store: FolderStore) -> None:
    store.put("a/b/1", b"x")
    shutil.rmtree(store.path / "a")
    with suppress(UnavailableError):
        store.put("a/b/2", b"x")
    store.put("a/b/2", b"x")
    assert [info.key for info in store.list()] == ["a/b/2"]


def test_a_held_document_is_not_replaced(store: FolderStore) -> None:
    store.replace("facts/a", b"1")
    store.set_legal_hold("facts/a", on=True)
    with pytest.raises(ConflictError):
        store.replace("facts/a", b"2")
    assert store.get("facts/a") == b"1"


def test_a_folder_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file/objects"):
        FolderStore(tmp_path / "file" / "objects")


def test_check_sees_a_folder_that_is_gone(store: FolderStore) -> None:
    store.check()
    assert temporary(store) == []
    shutil.rmtree(store.path)
    with pytest.raises(UnavailableError):
        store.check()


@given(st.text(alphabet="ab./-_~\\\0 A0é", max_size=12))
def test_what_is_accepted_as_a_key_is_a_path_below_the_root(key: str) -> None:
    with suppress(ValueError):
        assert check_key(key) == key
        assert os.path.normpath(f"/root/{key}") == f"/root/{key}"
        assert "~" not in key
        for end in range(len(key) + 1):
            # The beginning "a/." of "a/.b" is one as well.
            assert check_prefix(key[:end]) == key[:end]
