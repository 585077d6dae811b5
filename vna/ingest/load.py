"""Loading a folder: every DICOM file below it through the spool into the archive, resumable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from vna.dicom.reader import read_header
from vna.domain.batches import batches
from vna.domain.errors import InvalidInputError
from vna.domain.origin import Origin
from vna.ingest.commit import Committer
from vna.ingest.filemeta import peek
from vna.ingest.spool import Spool

_PREAMBLE = 128
_CHUNK = 1 << 20
_COPIERS = 4
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(slots=True)
class LoadReport:
    """What became of the files.

    Attributes
    ----------
    stored, duplicates, conflicts
        Files by what the index found; a conflict (other bytes under the UIDs of
        an instance) is stored as well.
    before
        Files that an earlier, interrupted run had done.
    quarantined
        ``(file, reason)`` of those that could not be stored.
    skipped
        Files that are not DICOM.
    directories
        DICOMDIR files (PS3.10 8), by whatever name: they list instances and are none.
    bytes
        Bytes read.
    """

    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    before: int = 0
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    bytes: int = 0


class Progress:
    """Which files of a folder are done: one JSON line each, appended after they are stored.

    Parameters
    ----------
    folder
        Where such notes are kept.
    root
        The folder that is loaded.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]}.jsonl"
        self._done: set[tuple[str, int, int]] = set()
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                try:
                    name, length, modified = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed
                self._done.add((name, length, modified))

    @staticmethod
    def _mark(path: Path) -> tuple[str, int, int]:
        state = path.stat()
        return (str(path.resolve()), state.st_size, state.st_mtime_ns)

    def has(self, path: Path) -> bool:
        """Say whether a file, as it is now, was done."""
        return self._mark(path) in self._done

    def add(self, paths: Sequence[Path]) -> None:
        """Note files as done."""
        with self._path.open("a") as file:
            for path in paths:
                file.write(json.dumps(self._mark(path)) + "\n")

    def forget(self) -> None:
        """Remove the note: the folder is done, or is to be loaded again."""
        self._path.unlink(missing_ok=True)
        self._done.clear()


def find_files(root: Path) -> Iterator[Path]:
    """Yield the regular files below a folder (or the file itself), in a stable order; links are not followed."""
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def is_dicom(path: Path) -> bool:
    """Say whether a file is DICOM: it says so (PS3.10 7.1), or it can be read as a bare data set."""
    with path.open("rb") as file:
        head = file.read(_PREAMBLE + 4)
    if head[_PREAMBLE:] == b"DICM":
        return True
    try:
        read_header(path)
    except InvalidInputError:
        return False
    return True


def is_directory(path: Path) -> bool:
    """Say whether a file is a DICOMDIR, by its name or by its Media Storage SOP Class (PS3.3 F, PS3.10 8.6)."""
    meta = peek(path)
    return meta.get("sop_class") == _MEDIA_STORAGE_DIRECTORY or (bool(meta) and path.name.upper() == "DICOMDIR")


class Loader:
    """Loads files in batches.

    Parameters
    ----------
    spool, committer
        The archive's way in.
    progress
        What is done already.
    batch
        Files of one batch.
    """

    def __init__(self, spool: Spool, committer: Committer, progress: Progress, batch: int = 64) -> None:
        self._spool = spool
        self._committer = committer
        self._progress = progress
        self._batch = batch

    def load(self, root: Path, on_file: Callable[[int], None] = lambda _count: None) -> LoadReport:
        """Load every DICOM file below a folder.

        ``on_file`` is told how many files are done since it was last called.

        Raises
        ------
        UnavailableError, OutOfResourcesError
            The object store, the index or the disk. What was done is noted; calling again goes on.
        """
        report = LoadReport()
        with ThreadPoolExecutor(_COPIERS) as copiers:
            for files in batches(find_files(root), self._batch):
                new = [path for path in files if not self._progress.has(path)]
                report.before += len(files) - len(new)
                directories = [path for path in new if is_directory(path)]
                instances = [path for path in new if path not in directories]
                dicom = [path for path in instances if is_dicom(path)]
                report.directories += directories
                report.skipped += [path for path in instances if path not in dicom]
                names = dict(zip(copiers.map(self._copy, dicom), dicom, strict=True))
                self._commit(names, report)
                self._progress.add(new)
                on_file(len(files))
        return report

    def _copy(self, path: Path) -> str:
        with path.open("rb") as source, self._spool.begin(Origin("import", called=path.name)) as target:
            while piece := source.read(_CHUNK):
                target.write(piece)
            return target.seal().name

    def _commit(self, names: dict[str, Path], report: LoadReport) -> None:
        left = list(names)
        while left:
            done = self._committer.commit(left)
            report.stored += done.stored - done.conflicts
            report.duplicates += done.duplicates
            report.conflicts += done.conflicts
            report.bytes += done.bytes
            report.quarantined += [(names[name], done.reasons[name]) for name in done.quarantined]
            left = done.failed
