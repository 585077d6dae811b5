"""The note in the state index of which generation is live, and whether another is being built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vna.domain.errors import ConflictError, UnavailableError
from vna.domain.origin import now_us
from vna.index.elastic_client import Connection, Operation, Revision
from vna.index.elastic_documents import encode
from vna.index.elastic_mapping import STATE

MARKER_ID = "indices"
LEASE_SECONDS = 15.0
RETIREMENT_SECONDS = 900.0
_FIELDS = ("generation", "building", "owner", "heartbeat_us", "retired", "retired_us")


@dataclass(frozen=True, slots=True)
class Marker:
    """What every process looks at with each write.

    Attributes
    ----------
    generation
        The generation that searches use.
    building
        The one being built, ``None`` if none is (yet).
    owner, heartbeat_us
        Who builds it, and when that process last said so.
    retired, retired_us
        A former generation that a scroll still read when it was swapped out, and when that was.
    revision
        For compare-and-set; ``None`` if it was never stored.
    """

    generation: int
    building: int | None = None
    owner: str = ""
    heartbeat_us: int = 0
    retired: int | None = None
    retired_us: int = 0
    revision: Revision | None = None

    @property
    def alive(self) -> bool:
        """Whether a rebuild is under way by a process that lives."""
        return bool(self.owner) and now_us() - self.heartbeat_us < LEASE_SECONDS * 1_000_000

    @property
    def overdue(self) -> bool:
        """Whether a former generation has been kept long enough."""
        return self.retired is not None and now_us() - self.retired_us > RETIREMENT_SECONDS * 1_000_000


def marker_request(prefix: str) -> tuple[str, str, list[str]]:
    """Return what ``Connection.get_many`` is asked for."""
    return (f"{prefix}-{STATE}", MARKER_ID, ["value"])


def parse_marker(answer: dict[str, Any]) -> Marker:
    """Return the marker from an answer of ``Connection.get_many``."""
    if not answer.get("found"):
        raise UnavailableError("Elasticsearch: the note of the live indices is missing; set up is under way")
    value = answer["_source"]["value"]
    revision = Revision(answer["_seq_no"], answer["_primary_term"])
    return Marker(**{name: value[name] for name in _FIELDS}, revision=revision)


def read_marker(connection: Connection, prefix: str) -> Marker:
    """Return the marker as it is now."""
    [answer] = connection.get_many("read state", [marker_request(prefix)])
    return parse_marker(answer)


def write_marker(connection: Connection, prefix: str, marker: Marker) -> Marker:
    """Store the marker if its revision is still that in store; raises ``ConflictError``."""
    value = {name: getattr(marker, name) for name in _FIELDS}
    action = "index" if marker.revision else "create"
    operation = Operation(action, f"{prefix}-{STATE}", MARKER_ID, encode({"value": value}), marker.revision)
    [result] = connection.bulk("write state", [operation])
    if result.status == 409:
        raise ConflictError("another process rebuilds the index")
    if result.status >= 300 or result.revision is None:
        raise UnavailableError(f"Elasticsearch: write state: {result.status} {result.reason}")
    return replace(marker, revision=result.revision)
