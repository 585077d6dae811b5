"""Sends what is sealed on to an audit repository, and remembers up to where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import orjson

from vna.domain.audit import AuditEvent, from_record
from vna.ports.objects import ObjectStore
from vna.security.audit_chain import PREFIX, SegmentKey, records_of
from vna.security.audit_journal import write_whole
from vna.security.audit_seal import alone, read_head

_BATCH = 200


class Sender(Protocol):
    """What takes events to a repository."""

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Send events, and return when they have arrived; raises ``UnavailableError``."""


class Forwarder:
    """Sends the records of this node's chain in their order, each at least once.

    The chain is the queue: while the repository is down nothing is lost, and a
    restart goes on where the last batch ended.

    Parameters
    ----------
    folder
        The local audit log, where the position is kept.
    objects
        Where the segments are.
    sender
        What sends.
    """

    def __init__(self, folder: Path, objects: ObjectStore, sender: Sender) -> None:
        self._folder = folder
        self._objects = objects
        self._sender = sender
        self._state = folder / "forwarded.json"

    def forward(self) -> int:
        """Send what was not sent yet; return how many records. Does nothing while another process is at it.

        Raises
        ------
        UnavailableError
            The repository or the object store is away; the rest is sent by the next call.
        """
        head = read_head(self._folder)
        if head is None:
            return 0
        with alone(self._folder / "forward.lock") as mine:
            if not mine:
                return 0
            return self._forward(head.chain)

    def _forward(self, chain: str) -> int:
        key, record = self._position()
        count = 0
        for info in self._objects.list(f"{PREFIX}{chain}/", key):
            if SegmentKey.parse(info.key) is None:
                continue
            events = [
                (sequence, from_record(event))
                for sequence, event in records_of(self._objects.get(info.key))
                if sequence > record
            ]
            for start in range(0, len(events), _BATCH):
                batch = events[start : start + _BATCH]
                self._sender.send([event for _sequence, event in batch])
                count += len(batch)
                record = batch[-1][0]
                self._keep(key, record)
            key = info.key
            self._keep(key, record)
        return count

    def _position(self) -> tuple[str, int]:
        """Return the last segment that was sent whole, and the last record that was sent."""
        try:
            kept = orjson.loads(self._state.read_bytes())
            return str(kept["key"]), int(kept["record"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", 0

    def _keep(self, key: str, record: int) -> None:
        write_whole(self._state, orjson.dumps({"key": key, "record": record}))
