"""The compare-and-set store of the Elasticsearch adapter."""

from __future__ import annotations

from vna.domain.errors import ConflictError, UnavailableError
from vna.domain.identity import identity
from vna.domain.query import State
from vna.index.elastic_client import Connection, Operation, Revision
from vna.index.elastic_documents import encode
from vna.index.elastic_mapping import STATE


class StateStore:
    """Versioned values by key. A version is the document's place in the history of its shard."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._index = f"{prefix}-{STATE}"

    def get(self, key: str) -> State | None:
        """Return a value, ``None`` if there is none."""
        [answer] = self._connection.get_many("read state", [(self._index, _id(key), ["value"])])
        if not answer.get("found"):
            return None
        return State(answer["_source"]["value"], _version(Revision(answer["_seq_no"], answer["_primary_term"])))

    def put(self, key: str, value: dict[str, object], expected: str | None) -> State:
        """Store a value if its version is still the expected one; raises ``ConflictError``."""
        body = encode({"key": key, "value": value})
        action = "create" if expected is None else "index"
        revision = None if expected is None else _revision(key, expected)
        [result] = self._connection.bulk("write state", [Operation(action, self._index, _id(key), body, revision)])
        if result.status in (404, 409):
            raise ConflictError(f"the state {key!r} was changed by somebody else")
        if result.status >= 300 or result.revision is None:
            raise UnavailableError(f"Elasticsearch: write state: {result.status} {result.reason}")
        return State(dict(value), _version(result.revision))


def _id(key: str) -> str:
    return "state-" + identity("state", key)


def _version(revision: Revision) -> str:
    return f"{revision.seq_no}.{revision.primary_term}"


def _revision(key: str, version: str) -> Revision:
    seq_no, _, term = version.partition(".")
    if not (seq_no.isdecimal() and term.isdecimal()):
        raise ConflictError(f"the state {key!r} never had the version {version!r}")
    return Revision(int(seq_no), int(term))
