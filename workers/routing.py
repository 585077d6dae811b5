"""Which queue carries what, and which of them one worker serves.

``ingest.<spool>`` and ``ingest-large.<spool>``
    Entries of one spool; only workers on hosts that reach its folder consume them. Large ones apart, since one
    may take an hour.
``sweep.<spool>``
    Orders to sweep that spool, and signs of life.
``audit.<spool>``
    Seals of the local audit log beside that spool.
``lifecycle``
    Jobs on what is stored.
``federation``
    Traffic with other archives.

A worker takes the messages of its queues by turns and does one after another. So
what must not wait for what is served by another worker: ``vna up`` starts one
for ingest, one for what is large, and a *keeper* for all the rest, whose jobs
are short.
"""

from __future__ import annotations

from vna.config import Settings
from vna.ingest.hints import ingest_queue

LIFECYCLE = "lifecycle"
FEDERATION = "federation"
SWEEP_TASK = "vna.ingest.sweep"
PROBE_TASK = "vna.ingest.probe"
SEAL_TASK = "vna.audit.seal"
WORKLIST_TASK = "vna.worklist.expire"
HEARTBEAT_TASK = "vna.lifecycle.heartbeat"
COMMITMENT_TASK = "vna.commitment.deliver"
COMMITMENT_WATCH_TASK = "vna.commitment.watch"
TIERS_TASK = "vna.lifecycle.tiers"
SCRUB_TASK = "vna.lifecycle.scrub"


def sweep_queue(spool_id: str) -> str:
    """Return the name of the queue whose workers sweep a spool."""
    return f"sweep.{spool_id}"


def audit_queue(spool_id: str) -> str:
    """Return the name of the queue whose workers can reach the local audit log beside a spool."""
    return f"audit.{spool_id}"


def ingest_queues(settings: Settings) -> list[str]:
    """Return the queues of a worker of ingest."""
    return [ingest_queue(settings.spool.id)]


def large_queues(settings: Settings) -> list[str]:
    """Return the queues of a worker of large entries."""
    return [ingest_queue(settings.spool.id, large=True)]


def keeper_queues(settings: Settings) -> list[str]:
    """Return the queues of the keeper, which must never stand behind a backlog."""
    return [sweep_queue(settings.spool.id), audit_queue(settings.spool.id), LIFECYCLE, FEDERATION]


def queue_names(settings: Settings) -> list[str]:
    """Return every queue that workers beside this spool serve."""
    return [*ingest_queues(settings), *large_queues(settings), *keeper_queues(settings)]


def disposable_queues(settings: Settings) -> list[str]:
    """Return the queues of this spool that hold hints, and orders that come again: nothing is lost with them."""
    spool = settings.spool.id
    return [*ingest_queues(settings), *large_queues(settings), sweep_queue(spool), audit_queue(spool)]
