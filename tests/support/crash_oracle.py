"""What an archive that comes back from a power cut must hold, and whether it does.

Marks tell what was promised: ``sent KIND SHA`` and ``acknowledged KIND SHA`` with kind ``data-set`` (C-STORE) or
``file`` (STOW-RS, the spool), ``tried UID STATE TRANSACTION`` and ``changed UID STATE TRANSACTION`` of work items,
``sealed CHAIN RECORDS`` of the audit trail.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.crash_settings import crash_settings
from tests.support.sending import data_set, sha256
from vna.bootstrap import Archive
from vna.domain.errors import ArchiveError, NotFoundError
from vna.security.audit_verify import problems, verify

_ROUNDS = 8
_BATCH = 64


class Claims:
    """What the marks before a power cut say."""

    def __init__(self, marks: Iterable[str]) -> None:
        self.sent: set[tuple[str, str]] = set()
        self.acknowledged: dict[tuple[str, str], None] = {}
        # The states that a work item may be in: the one acknowledged last, and what was tried since.
        self.items: dict[str, list[tuple[str, str]]] = {}
        self.certain: set[str] = set()
        self.sealed: dict[str, int] = {}
        for mark in marks:
            what, *words = mark.split(" ")
            match what:
                case "sent":
                    self.sent.add((words[0], words[1]))
                case "acknowledged":
                    self.acknowledged[words[0], words[1]] = None
                case "tried":
                    self.items.setdefault(words[0], []).append((words[1], words[2]))
                case "changed":
                    self.items[words[0]] = [(words[1], words[2])]
                    self.certain.add(words[0])
                case "sealed":
                    self.sealed[words[0]] = max(self.sealed.get(words[0], 0), int(words[1]))


def check(data: Path, claims: Claims) -> list[str]:
    """Start an archive as after a power cut, store what waits, and return what is not as was promised."""
    found: list[str] = []
    # Twice: what the first start does must be good for the second.
    for start in ("first", "second"):
        archive = Archive(crash_settings(data))
        try:
            found += [f"{start} start: {each}" for each in _check(archive, claims)]
        finally:
            archive.close()
        if found:
            break
    return found


def start(data: Path) -> list[str]:
    """Start an archive on a disk that is full or partly unreadable: it works as far as it can, and does not break."""
    try:
        archive = Archive(crash_settings(data))
        committer = archive.committer()
        try:
            for entry in list(archive.spool.entries()):
                with contextlib.suppress(ArchiveError):
                    committer.commit([entry.name])
        finally:
            committer.close()
            with contextlib.suppress(ArchiveError, OSError):
                archive.close()
    except Exception:  # noqa: BLE001 - whatever it is, nobody expects it
        return [f"START: {traceback.format_exc()}"]
    return []


def _check(archive: Archive, claims: Claims) -> Iterator[str]:
    yield from _drain(archive)
    stored, keys = _stored(archive)
    kept = _in_quarantine(archive)
    lost = [one for one in claims.acknowledged if one not in stored and one not in kept]
    if lost:
        yield f"LOST: {len(lost)} of {len(claims.acknowledged)} acknowledged, the first {lost[0]}"
    phantoms = [pair for pair in keys.values() if not claims.sent & set(pair)]
    if phantoms:
        yield f"PHANTOM: {len(phantoms)} instances that nobody sent, the first {phantoms[0]}"
    twice = [one for one, count in stored.items() if count > 1]
    if twice:
        yield f"DOUBLE: {len(twice)} instances are stored more than once, the first {twice[0]}"
    yield from _index(archive, set(keys))
    yield from _work_items(archive, claims)
    yield from _audit(archive, claims)


def _drain(archive: Archive) -> Iterator[str]:
    """Commit all that the spool holds, as workers do in the end."""
    committer = archive.committer()
    try:
        for _ in range(_ROUNDS):
            names = [entry.name for entry in archive.spool.entries()]
            if not names:
                return
            for at in range(0, len(names), _BATCH):
                committer.commit(names[at : at + _BATCH])
    except ArchiveError as error:
        yield f"STUCK: committing: {type(error).__name__}: {error}"
    finally:
        committer.close()
    yield f"STUCK: {len(list(archive.spool.entries()))} entries stay in the spool"


def _digests(data: bytes) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("data-set", sha256(data_set(data))), ("file", sha256(data))


def _stored(archive: Archive) -> tuple[Counter[tuple[str, str]], dict[str, tuple[tuple[str, str], ...]]]:
    """Return how often each content is stored, and what each key holds."""
    counted: Counter[tuple[str, str]] = Counter()
    keys = {}
    for info in archive.objects.list("instances/"):
        if info.key.endswith(".dcm"):
            keys[info.key] = pair = _digests(archive.objects.get(info.key))
            counted.update(pair)
    return counted, keys


def _in_quarantine(archive: Archive) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for info in archive.objects.list("quarantine/"):
        if info.key.endswith(".dcm"):
            found.update(_digests(archive.objects.get(info.key)))
    for item in archive.quarantine.list():
        found.update(_digests(archive.quarantine.file(item).read_bytes()))
    return found


def _index(archive: Archive, keys: set[str]) -> Iterator[str]:
    """The index is what the store holds: each instance once, each digest of its content."""
    documents = {info.key for info in archive.objects.list("instances/") if info.key.endswith(".json")}
    if bare := {key.removesuffix(".dcm") + ".json" for key in keys} ^ documents:
        yield f"HALF: {len(bare)} instances are stored without metadata or the other way round, {min(bare)}"
    archive.index.refresh()
    held: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        identity, digest = key.rsplit("/", 1)[1].removesuffix(".dcm").rsplit("-", 1)
        held[identity].add(digest)
    versions = archive.index.versions(sorted(held))
    known = {identity: sorted(digest[:32] for digest in digests) for identity, digests in versions.items()}
    if wrong := [one for one, digests in held.items() if known.get(one) != sorted(digests)]:
        yield f"INDEX: {len(wrong)} instances are not in the index as they are in the store, the first {wrong[0]}"
    if (count := archive.index.counts().instances) != len(held):
        yield f"INDEX: {count} instances, {len(held)} in the store"


def _work_items(archive: Archive, claims: Claims) -> Iterator[str]:
    for uid, states in claims.items.items():
        try:
            item = archive.worklist.get(uid)
        except NotFoundError:
            if uid in claims.certain:
                yield f"LOST: work item {uid}"
        else:
            if (item.state.replace(" ", "_"), item.transaction or "-") not in states:
                yield f"LOST: work item {uid} is {item.state} {item.transaction}, not one of {states}"


def _audit(archive: Archive, claims: Claims) -> Iterator[str]:
    archive.audit_sealer.seal()
    reports = verify(archive.objects, archive.audit_sealer.head())
    yield from (f"AUDIT: {each}" for each in problems(reports))
    records = {report.chain: report.records for report in reports}
    for chain, count in claims.sealed.items():
        if records.get(chain, 0) < count:
            yield f"LOST: {records.get(chain, 0)} of {count} records of audit chain {chain}"
