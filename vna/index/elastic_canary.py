"""Writes what means nothing, the way an upsert writes: to tell a service that refuses everything from one refusal."""

from __future__ import annotations

from vna.domain.errors import UnavailableError
from vna.domain.origin import now_us
from vna.index.elastic_client import Connection, Operation, Revision
from vna.index.elastic_documents import encode
from vna.index.elastic_errors import MissingIndexError
from vna.index.elastic_mapping import KINDS, STATE, Names

_ID = "canary"
# No document has it: the write is looked at, up to the comparison, and not made.
_NEVER = Revision(1 << 52, 1)


def try_writing(connection: Connection, names: Names, prefix: str, seconds: float) -> None:
    """Write to every index of a generation, without leaving anything that searches find.

    In each index a document is offered that must lose the comparison of its
    revision, and one is deleted that is not there, which reaches the shard's log
    like any write; in the state index a document is written.

    Raises
    ------
    MissingIndexError
        An alias is not there.
    UnavailableError
        An upsert would fail.
    """
    operations: list[tuple[tuple[int, ...], Operation]] = []
    for kind in KINDS:
        index = names.of(kind)
        operations.append(((409,), Operation("index", index, _ID, encode({_ID: True}), _NEVER)))
        operations.append(((404,), Operation("delete", index, _ID)))
    body = encode({"key": _ID, "value": {"us": now_us()}})
    operations.append(((200, 201), Operation("index", f"{prefix}-{STATE}", _ID, body)))
    results = connection.try_bulk("check", [operation for _, operation in operations], seconds)
    for (expected, operation), result in zip(operations, results, strict=True):
        if result.reason.startswith("index_not_found_exception"):
            raise MissingIndexError(f"Elasticsearch: check: {result.reason}")
        if result.status not in expected:
            raise UnavailableError(f"Elasticsearch: {operation.index} takes no writes: {result.status} {result.reason}")
