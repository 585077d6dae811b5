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
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    OutOfResourcesError,
    UnavailableError,
)
from vna.domain.file_range import FileRange
from vna.ports.objects import Put
from vna.store import folder_io
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
    sync_file_system = folder_io.sync_file_system

    def path_of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def recorded_link(source: str, target: str, **more: Any) -> None:
        link(source, target, **more)
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

    def recorded_syncfs(descriptor: int) -> None:
        sync_file_system(descriptor)
        seen.append(("syncfs", path_of(descriptor)))

    monkeypatch.setattr(folder_io, "sync_file_system", recorded_syncfs)
    monkeypatch.setattr(os, "link", recorded_link)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "fdatasync", recorded_fdatasync)
    return seen


@pytest.mark.parametrize("together", [True, False], ids=["of the file system", "of each file"])
def test_bytes_are_durable_before_they_have_a_name_and_names_before_the_return(
    store: FolderStore, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    monkeypatch.setattr(folder_io, "_SYNCFS_TELLS", together)
    keys = [f"a/{number % 3}/{number}" for number in range(20)]
    store.put_batch([Put(key, b"x") for key in keys])
    kinds = [kind for kind, _ in calls]
    sync = "syncfs" if together else "fdatasync"
    assert kinds.count(sync) == (1 if together else 20)
    assert kinds.count("link") == 20
    assert kinds.index("link") > max(index for index, kind in enumerate(kinds) if kind == sync)
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

    def refuse_source(path: str | Path, target: str, **more: Any) -> None:
        if str(path) == str(source):
            raise OSError(number, os.strerror(number))
        link(path, target, **more)

    monkeypatch.setattr(os, "link", refuse_source)
    assert store.put("a", source) is True
    assert store.get("a") == b"x"
    assert not os.path.samefile(source, store.path / "a")
    assert temporary(store) == []


@pytest.mark.parametrize("call", ["write", "fdatasync", "sync_file_system", "link", "fsync"])
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
        patch.setattr(folder_io, "_SYNCFS_TELLS", call == "sync_file_system")
        patch.setattr(folder_io if call == "sync_file_system" else os, call, failing(number))
        with pytest.raises(expected) as caught:
            store.put_batch([Put(f"a/{number}", b"whole") for number in range(5)])
    assert caught.value.retry
    assert temporary(store) == []
    assert {store.get(info.key) for info in store.list()} <= {b"whole"}
    store.put_batch([Put(f"a/{number}", b"whole") for number in range(5)])
    assert [data for _, data in store.get_many([f"a/{number}" for number in range(5)])] == [b"whole"] * 5


def once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple[int, int]]:
    """Make a sync fail once, as the kernel does: the next one of the same file says yes. Return what was synced."""
    real = getattr(module, name)
    seen: list[tuple[int, int]] = []

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        seen.append((found.st_dev, found.st_ino))
        if len(seen) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(module, name, sync)
    return seen


@pytest.mark.parametrize("together", [True, False], ids=["of the file system", "of each file"])
def test_what_could_not_be_synced_is_given_up(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    monkeypatch.setattr(folder_io, "_SYNCFS_TELLS", together)
    written: list[int] = []
    create = store._temporary._create

    def watched(*, named: bool) -> Any:
        made = create(named=named)
        written.append(os.fstat(made.descriptor).st_ino)
        return made

    monkeypatch.setattr(store._temporary, "_create", watched)
    once(monkeypatch, folder_io if together else os, "sync_file_system" if together else "fdatasync")
    puts = [Put("a/1", b"1"), Put("a/2", b"2")]
    with pytest.raises(UnavailableError):
        store.put_batch(puts)
    assert list(store.list()) == []
    assert temporary(store) == []
    del written[:2]
    assert store.put_batch(puts) == [True, True]
    # The bytes that count were written after the failure, not before it.
    assert sorted(written) == sorted((store.path / key).stat().st_ino for key in ("a/1", "a/2"))


@pytest.mark.parametrize("marks", [True, False], ids=["attributes", "no attributes"])
@pytest.mark.parametrize("copying", [True, False], ids=["copied", "no room to copy"])
def test_a_file_that_could_not_be_synced_is_never_linked(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, marks: bool, copying: bool
) -> None:
    if not marks:
        for name in ("setxattr", "getxattr"):
            monkeypatch.setattr(os, name, failing(errno.ENOTSUP))
    source = tmp_path / "source"
    source.write_bytes(b"whole")
    seen = once(monkeypatch, os, "fdatasync")
    if not copying:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing(errno.ENOSPC))
            with pytest.raises(OutOfResourcesError):
                store.put("a", source)
        assert store.head("a") is None
    if marks and not copying:
        # Another process tries again.
        with closing(FolderStore(store.path)) as other:
            assert other.put("a", source) is True
    else:
        assert store.put("a", source) is True
    assert store.get("a") == b"whole"
    assert not os.path.samefile(source, store.path / "a")
    found = source.stat()
    assert seen.count((found.st_dev, found.st_ino)) == 1


def test_a_copy_of_a_file_that_could_not_be_synced_is_compared(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"whole")
    linkable = Put("a", FileRange(source, 0, 5, xxhash.xxh3_64_intdigest(b"whole")), linkable=True)
    assert store.put_batch([Put("b", linkable.source, linkable=True)]) == [True]
    assert os.path.samefile(source, store.path / "b")
    once(monkeypatch, os, "fdatasync")
    # What the disk gives back after it lost a write.
    source.write_bytes(b"wrong")
    with pytest.raises(IntegrityError):
        store.put_batch([linkable])
    assert store.head("a") is None


def test_an_entry_whose_folder_could_not_be_synced_is_written_anew(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, os, "fsync")
    with pytest.raises(UnavailableError):
        store.put("a", b"first")
    before = (store.path / "a").stat().st_ino
    assert store.put("a", b"second") is False
    assert store.get("a") == b"first"
    assert (store.path / "a").stat().st_ino != before
    assert temporary(store) == []


def test_a_batch_takes_one_sync_and_no_name_that_is_dropped_again(
    store: FolderStore, calls: list[tuple[str, str]]
) -> None:
    store.put_batch([Put(f"a/{number}", b"x") for number in range(128)])
    assert [kind for kind, _ in calls].count("syncfs") == 1
    assert all(source.startswith("/proc/self/fd/") for kind, source in calls if kind == "link")


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
