"""Which queue carries what.

``ingest.<spool>`` and ``ingest-large.<spool>``
    Entries of one spool; only workers on hosts that reach its folder consume them.
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
HEARTBEAT_TASK = "vna.lifecycle.heartbeat"


def queue_names(settings: Settings) -> list[str]:
    """Return every queue that a worker beside this spool can serve."""
    spool = settings.spool.id
    return [ingest_queue(spool), ingest_queue(spool, large=True), LIFECYCLE, FEDERATION]
