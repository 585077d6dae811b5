"""Which queue carries what.

``ingest.<spool>`` and ``ingest-large.<spool>``
    Entries of one spool; only workers on hosts that reach its folder consume them.
``audit.<spool>``
    Seals of the local audit log beside that spool, apart, so that a backlog of ingest cannot hold them up.
``lifecycle``
    Jobs on what is stored.
``federation``
    Traffic with other archives, apart, so that a migration of millions cannot starve live ingest.
"""

from __future__ import annotations

from vna.config import Settings
from vna.ingest.receive import ingest_queue

LIFECYCLE = "lifecycle"
FEDERATION = "federation"
SWEEP_TASK = "vna.ingest.sweep"
SEAL_TASK = "vna.audit.seal"
WORKLIST_TASK = "vna.worklist.expire"
HEARTBEAT_TASK = "vna.lifecycle.heartbeat"
COMMITMENT_TASK = "vna.commitment.deliver"
COMMITMENT_WATCH_TASK = "vna.commitment.watch"
TIERS_TASK = "vna.lifecycle.tiers"


def audit_queue(spool_id: str) -> str:
    """Return the name of the queue whose workers can reach the local audit log beside a spool."""
    return f"audit.{spool_id}"


def queue_names(settings: Settings) -> list[str]:
    """Return every queue that a worker beside this spool can serve."""
    spool = settings.spool.id
    return [ingest_queue(spool), ingest_queue(spool, large=True), audit_queue(spool), LIFECYCLE, FEDERATION]
