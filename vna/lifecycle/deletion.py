"""Requests to delete: written down as facts in the object store, and no destruction.

The archive keeps what it has acknowledged. Somebody who wants a study, series
or instance gone asks for it; the request is listed, and may be withdrawn. What
it names stays found and retrievable until retention lets it go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from vna.domain.errors import ConflictError, IntegrityError, NotFoundError
from vna.domain.identity import FACT_PREFIX, identity
from vna.domain.origin import iso_utc, now_us
from vna.ports.objects import ObjectStore

_PREFIX = f"{FACT_PREFIX}deletion/"
REQUESTED, WITHDRAWN = "requested", "withdrawn"
LONGEST_REASON = 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done about a request: its state from then on, when (UTC), who and why."""

    state: str
    when: str
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """A request to delete a study, or if they are not empty, a series or an instance of it.

    ``instances`` is how many it was of when it was made; ``steps`` are in the order they came;
    ``limits`` are those of who asked (:class:`vna.security.limits.Limits`, as texts): what they
    did not see they did not ask to be deleted.
    """

    id: str
    study: str
    series: str
    instance: str
    instances: int
    steps: tuple[Step, ...]
    limits: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """What it is now: ``requested`` or ``withdrawn``."""
        return self.steps[-1].state


class Deletions:
    """The requests there are.

    Parameters
    ----------
    objects
        Where they are kept.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def request(
        self, uids: tuple[str, str, str], instances: int, who: str, reason: str = "", limits: tuple[str, ...] = ()
    ) -> DeletionRequest:
        """Write a request down, once; return it, or the one there is already.

        Parameters
        ----------
        uids
            Of study, series and instance; empty from where it is of all.
        instances
            How many instances there are of it.
        who, reason
            Who asks, and why.
        limits
            What who asks is limited to: the request is of nothing else.
        """
        name = identity("deletion", *uids, *limits)
        found = self._find(name)
        if found is not None and found.state == REQUESTED:
            return found
        steps = (*(found.steps if found else ()), Step(REQUESTED, iso_utc(now_us()), who, reason[:LONGEST_REASON]))
        return self._write(DeletionRequest(name, *uids, instances, steps, limits))

    def withdraw(self, prefix: str, who: str, reason: str = "") -> DeletionRequest:
        """Withdraw a request, by the start of its id.

        Raises
        ------
        NotFoundError
            There is none.
        ConflictError
            Several start so, or it is withdrawn already.
        """
        found = [each for each in self.list() if each.id.startswith(prefix)]
        if not found:
            raise NotFoundError(f"there is no request to delete with an id that starts with {prefix[:32]}")
        if len(found) > 1:
            raise ConflictError(f"{len(found)} requests to delete have an id that starts with {prefix[:32]}")
        (request,) = found
        if request.state != REQUESTED:
            raise ConflictError(f"the request to delete {request.id} is {request.state}")
        steps = (*request.steps, Step(WITHDRAWN, iso_utc(now_us()), who, reason[:LONGEST_REASON]))
        return self._write(replace(request, steps=steps))

    def list(self) -> Iterator[DeletionRequest]:
        """Yield every request, those that were withdrawn included."""
        for key, data in self._objects.get_many([info.key for info in self._objects.list(_PREFIX)]):
            if data is not None:
                yield _parse(key, data)

    def _find(self, name: str) -> DeletionRequest | None:
        key = f"{_PREFIX}{name}.json"
        try:
            return _parse(key, self._objects.get(key))
        except NotFoundError:
            return None

    def _write(self, request: DeletionRequest) -> DeletionRequest:
        document = json.dumps({"kind": "deletion-request", **asdict(request)}, indent=1, ensure_ascii=False)
        self._objects.replace(f"{_PREFIX}{request.id}.json", document.encode())
        return request


def _parse(key: str, data: bytes) -> DeletionRequest:
    try:
        document = json.loads(data)
        del document["kind"]
        steps = tuple(Step(**step) for step in document.pop("steps"))
        limits = tuple(document.pop("limits", ()))
        return DeletionRequest(**document, steps=steps, limits=limits)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{key} is no request to delete: {error}") from error
