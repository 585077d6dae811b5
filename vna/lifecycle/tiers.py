"""How much lies in each tier: a count of the object store's own listing, made in small steps.

The index does not know where the bytes of an instance lie now, since a store
moves them by rules of its own. So the listing is asked, a second's worth at a
time, and what was counted is kept with the place where to go on. A count that
is complete is shown until the next one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from vna.domain.errors import NotFoundError
from vna.domain.identity import FACT_PREFIX, OBJECT_PREFIX
from vna.domain.origin import now_us
from vna.ports.objects import ObjectStore

_KEY = f"{FACT_PREFIX}storage/tiers.json"
STEP_SECONDS = 1.0
# A new count begins so long after the last one ended, and listing takes a fiftieth of the time at most.
_LEAST_SECONDS = 600.0
_SHARE = 50


@dataclass(slots=True)
class Tier:
    """What lies in a storage class: instances, and the bytes of all their objects."""

    name: str
    instances: int = 0
    bytes: int = 0


@dataclass(slots=True)
class TierCount:
    """A count of all tiers.

    Attributes
    ----------
    began_us, ended_us
        When it began and ended, microseconds since 1970 UTC; what came meanwhile may be in it or not.
    seconds
        How long the store was asked.
    after
        The last key that was counted.
    tiers
        The tiers by name.
    """

    began_us: int
    ended_us: int = 0
    seconds: float = 0.0
    after: str = ""
    tiers: dict[str, Tier] = field(default_factory=dict)

    @property
    def instances(self) -> int:
        """Number of instances."""
        return sum(tier.instances for tier in self.tiers.values())

    def add(self, key: str, size: int, storage_class: str) -> None:
        """Count an object."""
        tier = self.tiers.setdefault(storage_class, Tier(storage_class))
        tier.instances += key.endswith(".dcm")
        tier.bytes += size
        self.after = key


def last_count(objects: ObjectStore) -> TierCount | None:
    """Return the last count that is complete, ``None`` if there is none yet."""
    return _read(objects)[0]


def advance(
    objects: ObjectStore, seconds: float = STEP_SECONDS, clock: Callable[[], float] = time.monotonic
) -> TierCount | None:
    """Go on with the count that is under way, or begin one if it is time; return one that is complete now.

    Several processes may do so at once: they count the same piece twice, and keep it once.

    Raises
    ------
    UnavailableError
        The object store does not answer; what was counted is kept.
    """
    done, running = _read(objects)
    if running is None:
        if done is not None and not _due(done):
            return None
        running = TierCount(now_us())
    begin = clock()
    whole = True
    for info in objects.list(OBJECT_PREFIX, running.after):
        running.add(info.key, info.size, info.storage_class)
        if clock() - begin >= seconds:
            whole = False
            break
    running.seconds += clock() - begin
    if not whole:
        _write(objects, done, running)
        return None
    running.ended_us = now_us()
    _write(objects, running, None)
    return running


def _due(done: TierCount) -> bool:
    # What is empty is counted again at once, and seen to fill.
    wait = max(_LEAST_SECONDS, _SHARE * done.seconds) if done.instances else 0.0
    return now_us() - done.ended_us >= wait * 1e6


def _read(objects: ObjectStore) -> tuple[TierCount | None, TierCount | None]:
    with suppress(NotFoundError, ValueError, TypeError, KeyError):
        found = orjson.loads(objects.get(_KEY))
        return _count(found["done"]), _count(found["running"])
    return None, None


def _count(found: dict[str, Any] | None) -> TierCount | None:
    if found is None:
        return None
    return TierCount(**(found | {"tiers": {name: Tier(**tier) for name, tier in found["tiers"].items()}}))


def _write(objects: ObjectStore, done: TierCount | None, running: TierCount | None) -> None:
    document = {"done": done and asdict(done), "running": running and asdict(running)}
    objects.replace(_KEY, orjson.dumps(document))
