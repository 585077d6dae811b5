"""Beat: sends the orders that come by the clock. It knows tasks by name alone, so it imports none of their work.

``celery -A workers.beat beat`` asks for ``app``, which is made then.

An order expires, but it is a worker that throws the expired ones away. So beat
sends none to a queue where some wait: while no worker serves it, orders of weeks
would fill the broker.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import structlog
from celery import Celery, signals
from celery.beat import PersistentScheduler

from vna import observability
from vna.config import Settings
from vna.config import settings as configured
from vna.domain.errors import ArchiveError
from vna.ports.queue import Queue
from vna.queue.celery_queue import CeleryQueue, broker_conf, direct_queue
from workers.routing import (
    COMMITMENT_TASK,
    COMMITMENT_WATCH_TASK,
    HEARTBEAT_TASK,
    LIFECYCLE,
    SCRUB_TASK,
    SEAL_TASK,
    SWEEP_TASK,
    TIERS_TASK,
    WORKLIST_TASK,
    audit_queue,
    queue_names,
    sweep_queue,
)

log = structlog.get_logger(__name__)

# Orders in a queue beyond which no more are sent to it.
_MOST_ORDERS = 20
_HEARTBEAT_SECONDS = 15
_WORKLIST_SECONDS = 3600
_TIERS_SECONDS = 30
_SCRUB_SECONDS = 30


def make_app(settings: Settings) -> Celery:
    """Return the Celery application that beat runs."""
    app = Celery("vna.beat", fixups=[], set_as_current=True)
    app.conf.update(broker_conf(settings.broker_url, settings.queue))
    app.conf.update(
        task_queues=[direct_queue(name) for name in queue_names(settings)],
        task_default_queue=LIFECYCLE,
        task_create_missing_queues=False,
        broker_connection_max_retries=None,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.5, "interval_max": 1},
        beat_schedule=schedule(settings),
        beat_scheduler=scheduler_class(CeleryQueue(settings.broker_url, settings.queue)),
    )

    def set_up_logging(**_: Any) -> None:
        observability.configure(settings.log)

    signals.setup_logging.connect(set_up_logging, weak=False)
    return app


def scheduler_class(queue: Queue) -> type[PersistentScheduler]:
    """Return Celery's scheduler, which leaves a queue alone that nobody serves."""

    class OrderScheduler(PersistentScheduler):
        """Sends no order to a queue in which some wait."""

        unserved: ClassVar[set[str]] = set()

        def apply_entry(self, entry: Any, producer: Any = None) -> None:
            """Send an order, unless its queue is not served."""
            name = entry.options["queue"]
            try:
                deep = queue.depth(name) >= _MOST_ORDERS
            except ArchiveError:
                deep = False  # sending it meets the same error, and tells it
            if deep and name not in self.unserved:
                log.warning("no worker serves a queue; no more orders are sent to it", queue=name)
                self.unserved.add(name)
            if not deep:
                self.unserved.discard(name)
                super().apply_entry(entry, producer)

    return OrderScheduler


def schedule(settings: Settings) -> dict[str, Any]:
    """Return what is sent, how often, and when it is of no use any more."""
    every = settings.spool.sweep_seconds
    seal = settings.audit.seal_seconds
    orders: dict[str, Any] = {
        "sweep": {
            "task": SWEEP_TASK,
            "schedule": timedelta(seconds=every),
            # An old order to sweep is of no use: while no worker runs they must not pile up.
            "options": {"queue": sweep_queue(settings.spool.id), "expires": max(2 * every, 30)},
        },
        "seal": {
            "task": SEAL_TASK,
            "schedule": timedelta(seconds=seal),
            "options": {"queue": audit_queue(settings.spool.id), "expires": max(2 * seal, 30)},
        },
        "heartbeat": {
            "task": HEARTBEAT_TASK,
            "schedule": timedelta(seconds=_HEARTBEAT_SECONDS),
            "options": {"queue": sweep_queue(settings.spool.id), "expires": 2 * _HEARTBEAT_SECONDS},
        },
        "tiers": {
            "task": TIERS_TASK,
            "schedule": timedelta(seconds=_TIERS_SECONDS),
            "options": {"queue": LIFECYCLE, "expires": 2 * _TIERS_SECONDS},
        },
    }
    if settings.commitment.enabled:
        orders |= _commitment(settings)
    if settings.worklist.keep_days:
        orders["worklist"] = {
            "task": WORKLIST_TASK,
            "schedule": timedelta(seconds=_WORKLIST_SECONDS),
            "options": {"queue": LIFECYCLE, "expires": 2 * _WORKLIST_SECONDS},
        }
    if settings.store.verify_bytes_second:
        orders["scrub"] = {
            "task": SCRUB_TASK,
            "schedule": timedelta(seconds=_SCRUB_SECONDS),
            "options": {"queue": LIFECYCLE, "expires": 2 * _SCRUB_SECONDS},
        }
    return orders


def _commitment(settings: Settings) -> dict[str, Any]:
    """Return the orders of storage commitment: one for any worker, and one for those that see the spool."""
    every = timedelta(seconds=settings.commitment.check_seconds)
    queues = {COMMITMENT_TASK: LIFECYCLE, COMMITMENT_WATCH_TASK: sweep_queue(settings.spool.id)}
    expires = max(2 * settings.commitment.check_seconds, 30)
    return {
        task: {"task": task, "schedule": every, "options": {"queue": queue, "expires": expires}}
        for task, queue in queues.items()
    }


def __getattr__(name: str) -> Any:
    """Make ``app`` when Celery's command line asks for it."""
    if name == "app":
        app = make_app(configured())
        globals()["app"] = app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
