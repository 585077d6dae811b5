"""Small faults put into a copy of the source on purpose: each must make a test fail (``make mutants``).

A promise that no test would miss is none. ``python -m tests.faults.mutants [NAME …]`` says of each fault whether it
was caught, and ends with 1 if one survived or if its place in the source has changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.worker import ROOT

_COPIED = ("vna", "workers", "tests", "docs", "pyproject.toml", "README.md", "Makefile", "deploy")
_SECONDS = 900
# Exit statuses of pytest: some failed; everything else is no answer.
_FAILED = 1

_STATES = "tests/faults/test_crash_states.py"
_SPOOL = [_STATES, "-k", "alone and spool"]
_STORE = [_STATES, "-k", "alone and store"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: in which file what is put in place of what, once, and the tests that must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]


MUTANTS = [
    Mutant(
        "an instance is acknowledged before its segment is synced",
        "vna/ingest/spool/segment.py",
        "            write_all(self.fd, pack_slot(slot), place)\n            os.fdatasync(self.fd)\n",
        "            write_all(self.fd, pack_slot(slot), place)\n",
        _SPOOL,
    ),
    Mutant(
        "a segment is used before its name is durable",
        "vna/ingest/spool/pool.py",
        "            sync_folder(self._folder)\n        except OSError as error:\n            # Told once",
        "            pass\n        except OSError as error:\n            # Told once",
        _SPOOL,
    ),
    Mutant(
        "a failed sync of a segment is taken for a good one",
        "vna/ingest/spool/segment.py",
        "        except OSError:\n            self.poison(place)\n            raise\n        self.used = number + 1\n",
        "        except OSError:\n            pass\n        self.used = number + 1\n",
        ["tests/unit/spool", "tests/faults/test_disk_faults.py", "-k", "unit or spool or flush"],
    ),
    Mutant(
        "a large instance is acknowledged before its bytes are synced",
        "vna/ingest/spool/files.py",
        "        os.fdatasync(fd)\n        folder = self.folder_of(name)\n",
        "        folder = self.folder_of(name)\n",
        _SPOOL,
    ),
    Mutant(
        "a large instance is acknowledged before its name is durable",
        "vna/ingest/spool/files.py",
        "            sync_folder(Path(folder))\n        except OSError:\n",
        "            pass\n        except OSError:\n",
        _SPOOL,
    ),
    Mutant(
        "a mark that an entry is done with is not synced",
        "vna/ingest/spool/reading.py",
        "place.marks_at + number * MARK)\n            os.fdatasync(self.fd)\n        except",
        "place.marks_at + number * MARK)\n        except",
        _SPOOL,
    ),
    Mutant(
        "an entry is done with before the object store has it",
        "vna/ingest/commit.py",
        "        unique = self._put(_unique(ready)",
        "        self._spool.finish(item.entry for item in ready)\n        unique = self._put(_unique(ready)",
        _SPOOL,
    ),
    Mutant(
        "bytes in the spool are not compared with what was received",
        "vna/store/ranges.py",
        "    if source.checksum is not None and found != source.checksum:\n",
        "    if False:\n",
        ["tests/unit", "tests/contracts/test_objects.py", "-k", "folder or spool or range or segment or commit"],
    ),
    Mutant(
        "what is written into the folder store is not synced",
        "vna/store/folder_put.py",
        "            self._syncer.files([made.descriptor for made in written.values()], file_system)\n",
        "",
        _STORE,
    ),
    Mutant(
        "a file is linked into the folder store without a sync",
        "vna/store/folder_put.py",
        "        errors = self._syncer.each(os.fdatasync, [links[number][1] for number in rest])\n",
        "        errors: list[OSError | None] = [None] * len(rest)\n",
        _STORE,
    ),
    Mutant(
        "names in the folder store are not synced",
        "vna/store/folder_put.py",
        "                stored += self._put_round(puts[begin : begin + _ROUND], folders)\n"
        "            self._sync_folders(folders)\n",
        "                stored += self._put_round(puts[begin : begin + _ROUND], folders)\n",
        _STORE,
    ),
    Mutant(
        "a document is renamed over another before its bytes are synced",
        "vna/store/folder_put.py",
        "            os.fdatasync(made.descriptor)\n            os.rename(made.path, target)\n        finally:\n"
        "            made.close()\n\n    def _sync_folders",
        "            os.rename(made.path, target)\n        finally:\n            made.close()\n\n    def _sync_folders",
        _STORE,
    ),
    Mutant(
        "the index does not sync",
        "vna/index/sqlite_schema.py",
        "PRAGMA synchronous = FULL;",
        "PRAGMA synchronous = OFF;",
        [*_SPOOL[:-1], "(alone and spool) or worker"],
    ),
    Mutant(
        "an entry goes before its bytes in quarantine are synced",
        "vna/ingest/quarantine/intake.py",
        "            os.fsync(file.fileno())\n",
        "",
        _SPOOL,
    ),
    Mutant(
        "an entry goes into quarantine without a copy in the object store",
        "vna/ingest/quarantine/intake.py",
        "            self._copies.put(entry, draft, copied, document)\n",
        "            pass\n",
        ["tests/unit/test_quarantine.py"],
    ),
    Mutant(
        "STOW-RS answers before its instances are durable",
        "vna/gateways/dicomweb/upload.py",
        "        self._commits.wait()\n        return self._outcomes\n",
        "        return self._outcomes\n",
        [_STATES, "-k", "stow"],
    ),
    Mutant(
        "C-STORE answers before the instance is durable",
        "vna/ingest/receive.py",
        "        entry = self._file.seal()\n        self._receiver.announce(entry, self._file)\n        return entry\n",
        "        import threading\n\n"
        "        from vna.domain.origin import now_us\n"
        "        from vna.ingest.spool.entry import SpoolEntry as _Entry\n\n"
        "        sealing = threading.Thread(target=self._file.seal)\n"
        "        sealing.start()\n"
        "        sealing.join(0.001)\n"
        "        return _Entry('', now_us(), self._file.length, self._file._origin, 0, -1, -1)\n",
        [_STATES, "-k", "dimse"],
    ),
    Mutant(
        "acknowledge stored answers when it is spooled",
        "vna/ingest/receive.py",
        "        while self.spool.waits(entry):\n",
        "        while False:\n",
        [_STATES, "-k", "stored"],
    ),
    Mutant(
        "the head of the audit trail is not synced",
        "vna/security/audit_journal.py",
        "        file.flush()\n        os.fsync(file.fileno())\n    draft.replace(path)\n",
        "        file.flush()\n    draft.replace(path)\n",
        [_STATES, "-k", "items or worker"],
    ),
    Mutant(
        "a completion that S3 refused is reported as stored",
        "vna/store/s3_large.py",
        '            if code_of(error) != "NoSuchUpload" or not self._writer.exists(key):\n                raise\n',
        "            pass\n",
        ["tests/faults/test_s3_refusals.py"],
    ),
    Mutant(
        "S3 gets no checksum",
        "vna/store/s3_put.py",
        'arguments = self._s3.new_object(put.content_type) | {"ChecksumCRC32": value}',
        "arguments = self._s3.new_object(put.content_type)",
        ["tests/faults/test_s3_refusals.py"],
    ),
]


def _copy() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vna-mutants-"))
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def _run(folder: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
    )


def _try(folder: Path, mutant: Mutant) -> str:
    """Return ``caught``, or what is wrong."""
    path = folder / mutant.file
    before = path.read_text()
    if before.count(mutant.old) != 1:
        return f"its place in {mutant.file} has changed: found {before.count(mutant.old)} times"
    path.write_text(before.replace(mutant.old, mutant.new))
    try:
        done = _run(folder, mutant.tests)
    except subprocess.TimeoutExpired:
        return "caught"  # whatever waits for ever is seen
    finally:
        path.write_text(before)
    if done.returncode == _FAILED:
        return "caught"
    return "SURVIVED" if done.returncode == 0 else f"no answer: {done.stdout[-1500:]}{done.stderr[-500:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; empty: all")
    given = parser.parse_args()
    chosen = [each for each in MUTANTS if not given.names or any(name in each.name for name in given.names)]
    bad = 0
    folder = _copy()
    try:
        for each in chosen:
            begun = time.monotonic()
            found = _try(folder, each)
            bad += found != "caught"
            print(f"{found:8}  {time.monotonic() - begun:4.0f} s  {each.name}", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"{len(chosen)} faults, {bad} not caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
