"""When nearly everything that a sender sends is refused, it may be the archive that is at fault.

A version that cannot read what it should would otherwise put a day of images in
quarantine. So the refusals of each sender that follow one another are counted,
over all workers of the spool; beyond a limit they stay in the spool, where
nothing is lost, until a person has looked, or another version runs.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vna.domain.origin import Origin


class RefusalBrake:
    """Counts refusals in a row, by sender. For one process at a time each; processes share the count.

    Parameters
    ----------
    path
        The file that holds the counts.
    most
        Refusals in a row after which those that follow are held back; 0 for no limit.
    version
        Version of the archive: another one begins to count anew.
    """

    def __init__(self, path: Path, most: int, version: str) -> None:
        self._path = path
        self._most = most
        self._version = version
        self._seen: tuple[int, int] = (0, 0)
        self._counts: dict[str, int] = {}

    def allows(self, origin: Origin) -> bool:
        """Whether a sender is still within the limit when one more is refused; nothing is counted."""
        if not self._most or origin.protocol == "import":
            return True
        self._refresh()
        return self._counts.get(_sender(origin), 0) < self._most

    def refused(self, origin: Origin) -> bool:
        """Count a refusal, once it is done with; return whether the sender is still within the limit."""
        # Who loads a folder is there to see what becomes of it.
        if not self._most or origin.protocol == "import":
            return True
        sender = _sender(origin)

        def add(counts: dict[str, int]) -> None:
            counts[sender] = counts.get(sender, 0) + 1

        return self._change(add).get(sender, 0) <= self._most

    def accepted(self, origins: Iterable[Origin]) -> None:
        """Note that something of each of these senders was stored: their count begins anew."""
        self._refresh()
        done = {_sender(origin) for origin in origins} & self._counts.keys()
        if done:
            self._change(lambda counts: [counts.pop(sender, None) for sender in done])

    def over(self) -> dict[str, int]:
        """Return the senders that are over the limit, and the length of their run of refusals."""
        self._refresh()
        return {sender: count for sender, count in self._counts.items() if self._most and count > self._most}

    def release(self) -> None:
        """Begin to count anew: somebody has looked."""
        self._change(lambda counts: counts.clear())

    def _refresh(self) -> None:
        try:
            state = self._path.stat()
        except OSError:
            self._counts, self._seen = {}, (0, 0)
            return
        seen = (state.st_mtime_ns, state.st_ino)
        if seen != self._seen:
            self._counts, self._seen = self._load(), seen

    def _load(self) -> dict[str, int]:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(self._path.read_bytes())
            if found["version"] == self._version:
                return {str(sender): int(count) for sender, count in found["counts"].items()}
        return {}

    def _change(self, change: Callable[[dict[str, int]], object]) -> dict[str, int]:
        try:
            with _locked(self._path.with_suffix(".lock")):
                counts = self._load()
                change(counts)
                draft = self._path.with_name(f".{self._path.name}")
                draft.write_text(json.dumps({"version": self._version, "counts": counts}))
                os.replace(draft, self._path)
        except OSError:
            # A disk that takes nothing keeps nobody from storing: this process counts for itself.
            counts = dict(self._counts)
            change(counts)
        self._counts = counts
        return counts


def _sender(origin: Origin) -> str:
    return f"{origin.protocol} {origin.calling} {origin.address}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
