"""The Celery application. Nothing is read and nothing connects when this module is imported.

``celery -A workers.app worker`` asks for ``app``, which is made then.

Settings that look arbitrary and are not: a message is acknowledged late and may
come twice, which every task survives; ``reject_on_worker_lost`` stays off,
since it would hand a poison message round for ever (the journal and the sweeper
take care of what a dead worker had in hand). Time limits lie below the
visibility timeout, except that of a batch, which comes with its message and
grows with its bytes: one that takes longer than the visibility timeout is
delivered once more meanwhile, and whoever gets it sees in the journal that a
living worker is at it.
"""

from __future__ import annotations

import warnings
from typing import Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from vna import observability
from vna.bootstrap import Archive
from vna.config import Settings
from vna.config import settings as configured
from vna.queue.celery_queue import broker_conf, direct_queue
from workers import room, transport
from workers.process import WorkerProcess
from workers.routing import LIFECYCLE, SWEEP_TASK, disposable_queues, queue_names, sweep_queue
from workers.tasks import audit, commitment, ingest, lifecycle

# A child that has grown past this is replaced after its task, in KiB.
_MAX_MEMORY_KIB = 384 * 1024


def make_app(settings: Settings, process: WorkerProcess | None = None) -> Celery:
    """Return the Celery application of a configuration; a test may bring its own process."""
    transport.register()
    # It warns a worker of the superuser of messages in pickle, which this one refuses.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app = Celery("vna", fixups=[], set_as_current=True)
    app.conf.update(broker_conf(settings.broker_url, settings.queue))
    app.conf.update(_worker_conf(settings))
    held = process or WorkerProcess(settings)
    ingest.register(app, held, settings)
    lifecycle.register(app, held, settings)
    audit.register(app, held)
    app.conf.worker_consumer = room.consumer_class(Archive(settings).queue, disposable_queues(settings))
    commitment.register(app, held, settings)

    def set_up_logging(**_: Any) -> None:
        observability.configure(settings.log)

    def sweep_at_start(**_: Any) -> None:
        app.send_task(SWEEP_TASK, queue=sweep_queue(settings.spool.id), retry=False)

    signals.setup_logging.connect(set_up_logging, weak=False)
    signals.worker_ready.connect(sweep_at_start, weak=False)
    return app


def _worker_conf(settings: Settings) -> dict[str, Any]:
    visibility = settings.queue.visibility_seconds
    return {
        "task_queues": [direct_queue(name) for name in queue_names(settings)],
        "task_default_queue": LIFECYCLE,
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "task_soft_time_limit": visibility * 0.8,
        "task_time_limit": visibility * 0.9,
        "worker_prefetch_multiplier": 1,
        "worker_max_memory_per_child": _MAX_MEMORY_KIB,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.5, "interval_max": 1},
    }


def __getattr__(name: str) -> Any:
    """Make ``app`` when Celery's command line asks for it."""
    if name == "app":
        app = make_app(configured())
        globals()["app"] = app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
