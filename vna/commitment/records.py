"""Commitments as documents in the object store, where they outlive every process.

``commitments/open/<id>/request-<generation>.json``
    What was asked. Put before the N-ACTION is answered.
``commitments/open/<id>/state-<revision>.json``
    Where it stands. Who changes it reads the last revision and puts the next, if
    absent: of several who do so at once one succeeds, and has it in hand.
``commitments/done/<id>.json``
    What was ended, for a person to look at.

The generation is the revision at which a transaction began; one that is asked
for again after its end goes on counting. So whoever still clears up the old one
touches nothing of the new.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from vna.commitment import documents
from vna.commitment.decision import Result
from vna.commitment.documents import Done
from vna.commitment.request import Request
from vna.commitment.state import DECIDING, State
from vna.domain.errors import ConflictError, IntegrityError, NotFoundError
from vna.domain.origin import now_us
from vna.ports.objects import ObjectStore

log = structlog.get_logger(__name__)

PREFIX = "commitments/"
_OPEN, _DONE = f"{PREFIX}open/", f"{PREFIX}done/"
_JSON = "application/json"
_MOST_KNOWN = 10_000
# Revisions are kept so long that nobody still believes an old one to be the last.
_REVISION_SECONDS = 3600
_TRIES = 20


class Records:
    """The transactions there are.

    Parameters
    ----------
    objects
        Where they are kept.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        # A revision never changes: what was read once need not be read again.
        self._known: dict[str, State] = {}

    def create(self, request: Request, lease_seconds: float) -> tuple[Request, State | None]:
        """Write a request down, and return when it is durable.

        Parameters
        ----------
        request
            What was asked.
        lease_seconds
            How long the caller has it for itself.

        Returns
        -------
        Request
            As written: a duplicate if the Transaction UID is in use for other instances.
        State or None
            Its state, in the hand of the caller; ``None`` if somebody else has it in hand.

        Raises
        ------
        ConflictError
            It was changed again and again meanwhile.
        """
        for _ in range(_TRIES):
            known = self._last(request.id)
            if known is not None and not known.final:
                return self._repeated(request, known, lease_seconds)
            done = self.done(request.id)
            if done is not None and done.request.digest != request.digest:
                return self.create(replace(request, duplicate=True), lease_seconds)
            revision = 1 + max(known.revision if known else 0, done.state.revision if done else 0)
            key = f"{_OPEN}{request.id}/request-{revision:08d}.json"
            self._objects.put(key, documents.dump_request(request), _JSON)
            now = now_us()
            begun = State(
                request.id,
                revision,
                revision,
                request.ae_title,
                request.transaction,
                len(request.references),
                request.received_us,
                request.spool,
                DECIDING,
                now,
                now,
            )
            try:
                return request, self._put(begun.leased(now, lease_seconds))
            except ConflictError:
                continue
        raise ConflictError(f"commitment {request.id} is changed by too many at once")

    def _repeated(self, request: Request, known: State, lease_seconds: float) -> tuple[Request, State | None]:
        """Take a request that is open already: it is worked on now, if nobody does."""
        if self.request(known).digest != request.digest:
            if request.duplicate:  # pragma: no cover - the identity of a duplicate is of its references
                raise ConflictError(f"commitment {request.id} has two sets of references")
            return self.create(replace(request, duplicate=True), lease_seconds)
        now = now_us()
        if known.held(now):
            return request, None
        try:
            return request, self.change(known, replace(known, due_us=now).leased(now, lease_seconds))
        except ConflictError:
            return request, None

    def open(self) -> Iterator[State]:
        """Yield the last state of each transaction that is open, those that wait to be cleared up included."""
        last: dict[str, str] = {}
        asked: dict[str, str] = {}
        for info in self._objects.list(_OPEN):
            folder, _, name = info.key.rpartition("/")
            (asked if name.startswith("request-") else last)[folder] = info.key
        found = self._read(list(last.values()))
        for folder, key in asked.items():
            state = found.get(last.get(folder, ""))
            if state is None and folder in last:
                continue  # it cannot be read, which was told
            generation = _number(key)
            if state is None or state.generation < generation:
                # Whoever wrote the request died before its state.
                with _passing_over(key):
                    state = self._begun(folder.rpartition("/")[2], generation, state)
            if state is not None:
                yield state

    def find(self, prefix: str) -> State:
        """Return the transaction whose id, or Transaction UID, starts so: an open one, else one that was ended.

        Raises
        ------
        NotFoundError
            There is none.
        ConflictError
            There are several.
        """
        found = {state.id: state for state in self.ended() if _named(state, prefix)}
        found |= {state.id: state for state in self.open() if _named(state, prefix)}
        if not found:
            raise NotFoundError(f"there is no commitment with an id or Transaction UID that starts with {prefix[:64]}")
        exact = [state for state in found.values() if prefix in {state.id, state.transaction}]
        several = exact or list(found.values())
        if len(several) > 1:
            raise ConflictError(f"{len(several)} commitments have an id or Transaction UID that starts with {prefix}")
        return several[0]

    def change(self, state: State, to: State, result: Result | None = None) -> State:
        """Put the next revision, and return it when it is durable; raises ``ConflictError`` if somebody was faster."""
        revised = replace(to, revision=state.revision + 1, when_us=now_us())
        return self._put(revised, result)

    def request(self, state: State) -> Request:
        """Return what was asked; raises ``NotFoundError`` if the transaction was ended and cleared up."""
        key = f"{_OPEN}{state.id}/request-{state.generation:08d}.json"
        return documents.parse_request(key, self._objects.get(key))

    def result(self, state: State) -> Result:
        """Return what became of the instances; raises ``NotFoundError`` if that is not known, or cleared up."""
        key = _state_key(state.id, state.result)
        return documents.parse_result(key, self._objects.get(key))

    def clear_up(self, state: State) -> None:
        """Note the end of a transaction, and remove what was kept while it was open."""
        try:
            request = self.request(state)
        except NotFoundError:
            return
        done = Done(state, request, self.result(state) if state.result else None)
        self._objects.replace(f"{_DONE}{state.id}.json", documents.dump_done(done))
        keys = [info.key for info in self._objects.list(f"{_OPEN}{state.id}/")]
        # The request first: what is left without one is rubbish.
        for key in sorted(keys, key=lambda key: "/request-" not in key):
            if _number(key) <= state.revision:
                self._objects.delete(key)
                self._known.pop(key, None)

    def prune(self, state: State) -> None:
        """Remove revisions that nobody can believe to be the last any more."""
        young = datetime.now(UTC) - timedelta(seconds=_REVISION_SECONDS)
        for info in list(self._objects.list(f"{_OPEN}{state.id}/state-")):
            number = _number(info.key)
            if number < state.revision and number != state.result and info.modified < young:
                self._objects.delete(info.key)
                self._known.pop(info.key, None)

    def sweep(self) -> None:
        """Remove what a crash left of transactions that were being cleared up."""
        young = datetime.now(UTC) - timedelta(seconds=_REVISION_SECONDS)
        found: dict[str, list[tuple[str, datetime]]] = {}
        for info in self._objects.list(_OPEN):
            found.setdefault(info.key.rpartition("/")[0], []).append((info.key, info.modified))
        for members in found.values():
            if all("/state-" in key and modified < young for key, modified in members):
                for key, _modified in members:
                    self._objects.delete(key)

    def done(self, name: str) -> Done | None:
        """Return a transaction that was ended, ``None`` if there is none of that id."""
        key = f"{_DONE}{name}.json"
        try:
            return documents.parse_done(key, self._objects.get(key))
        except NotFoundError:
            return None

    def ended(self) -> Iterator[State]:
        """Yield the last state of each transaction that was ended."""
        for info in self._objects.list(_DONE):
            done = None
            with _passing_over(info.key):
                done = self.done(info.key.removeprefix(_DONE).removesuffix(".json"))
            if done is not None:
                yield done.state

    def forget_before(self, moment: datetime) -> int:
        """Remove what was ended before a moment; return how many."""
        old = [info.key for info in self._objects.list(_DONE) if info.modified < moment]
        for key in old:
            self._objects.delete(key)
        return len(old)

    def _last(self, name: str) -> State | None:
        keys = [info.key for info in self._objects.list(f"{_OPEN}{name}/")]
        asked = [_number(key) for key in keys if "/request-" in key]
        if not asked:
            return None
        written = [key for key in keys if "/state-" in key]
        state = self._read(written[-1:]).get(written[-1]) if written else None
        if state is None or state.generation < asked[-1]:
            return self._begun(name, asked[-1], state)
        return state

    def _begun(self, name: str, generation: int, before: State | None) -> State | None:
        """Return the state of a request that has none yet: nothing was done about it."""
        key = f"{_OPEN}{name}/request-{generation:08d}.json"
        try:
            request = documents.parse_request(key, self._objects.get(key))
        except NotFoundError:
            return None
        return State(
            name,
            max(generation - 1, before.revision if before else 0),
            generation,
            request.ae_title,
            request.transaction,
            len(request.references),
            request.received_us,
            request.spool,
            DECIDING,
            request.received_us,
            request.received_us,
        )

    def _put(self, state: State, result: Result | None = None) -> State:
        key = _state_key(state.id, state.revision)
        if not self._objects.put(key, documents.dump_state(state, result), _JSON):
            raise ConflictError(f"{key} was written by somebody else")
        return state

    def _read(self, keys: list[str]) -> dict[str, State]:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        found = {key: self._known[key] for key in keys if key in self._known}
        for key, data in self._objects.get_many([key for key in keys if key not in found]):
            with _passing_over(key):
                if data is not None:
                    found[key] = self._known[key] = documents.parse_state(key, data)
        return found


@contextmanager
def _passing_over(key: str) -> Iterator[None]:
    """Tell of a document that cannot be read, and leave it: the others do not wait for it."""
    try:
        yield
    except IntegrityError as error:
        log.warning("a commitment cannot be read, and stays", key=key, error=str(error))


def _named(state: State, prefix: str) -> bool:
    return state.id.startswith(prefix) or state.transaction.startswith(prefix)


def _state_key(name: str, revision: int) -> str:
    return f"{_OPEN}{name}/state-{revision:08d}.json"


def _number(key: str) -> int:
    return int(key.rpartition("-")[2].removesuffix(".json"))
