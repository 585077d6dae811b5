"""The documents of storage commitment: what is written of a request, a state and a result, and reading it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from vna.commitment import request as requests
from vna.commitment import state as states
from vna.commitment.decision import Result
from vna.commitment.request import Request
from vna.commitment.state import State
from vna.domain.errors import IntegrityError, NotFoundError


@dataclass(frozen=True, slots=True)
class Done:
    """A transaction that was ended: its last state, what was asked, and what it came to, if that was ever known."""

    state: State
    request: Request
    result: Result | None


def dump_request(request: Request) -> bytes:
    """Return the document of a request."""
    return orjson.dumps(requests.to_json(request))


def dump_state(state: State, result: Result | None = None) -> bytes:
    """Return the document of a state; that of the decision has the result."""
    more = {"result_of": _result_json(result)} if result is not None else {}
    return orjson.dumps(states.to_json(state) | more)


def dump_done(done: Done) -> bytes:
    """Return the document of a transaction that was ended."""
    result = None if done.result is None else _result_json(done.result)
    content = {"state": states.to_json(done.state), "request": requests.to_json(done.request), "result": result}
    return orjson.dumps(content)


def parse_request(key: str, data: bytes) -> Request:
    """Read a request back; raises ``IntegrityError`` that names ``key``."""
    try:
        return requests.from_json(orjson.loads(data))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{key} is no request for a commitment: {error}") from error


def parse_state(key: str, data: bytes) -> State:
    """Read a state back; raises ``IntegrityError``."""
    try:
        document = orjson.loads(data)
        document.pop("result_of", None)
        return states.from_json(document)
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{key} is no state of a commitment: {error}") from error


def parse_result(key: str, data: bytes) -> Result:
    """Read the result that a state has; raises ``IntegrityError``, and ``NotFoundError`` if it has none."""
    try:
        found = orjson.loads(data).get("result_of")
        if found is not None:
            return _result(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{key} is no state of a commitment: {error}") from error
    raise NotFoundError(f"{key} has no result")


def parse_done(key: str, data: bytes) -> Done:
    """Read a transaction that was ended back; raises ``IntegrityError``."""
    try:
        found = orjson.loads(data)
        result = found["result"]
        return Done(
            states.from_json(found["state"]),
            requests.from_json(found["request"]),
            None if result is None else _result(result),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{key} is no commitment: {error}") from error


def _result_json(result: Result) -> dict[str, Any]:
    return {"failures": [list(pair) for pair in sorted(result.failures.items())], "studies": list(result.studies)}


def _result(found: dict[str, Any]) -> Result:
    failures = {int(place): int(reason) for place, reason in found["failures"]}
    return Result(failures, tuple((study, sop_class, count) for study, sop_class, count in found["studies"]))
