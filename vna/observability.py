"""Logs and metrics.

Logs go to standard error by structlog, for a person or as one JSON object a
line; records of libraries that use the standard library's logging come out the
same way. Metrics are Prometheus'; with ``PROMETHEUS_MULTIPROC_DIR`` set, those of
all processes of a host that share the folder are added up.
"""

from __future__ import annotations

import logging
import os
import sys

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as _generate
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import Processor

from vna.config import LogSettings

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

received_total = Counter("vna_received", "Instances made durable in the spool", ["protocol"])
received_bytes = Counter("vna_received_bytes", "Bytes made durable in the spool", ["protocol"])
refused_total = Counter("vna_refused", "Instances that were not accepted", ["protocol", "reason"])
hints_dropped_total = Counter("vna_hints_dropped", "Entries the queue was not told of; the sweeper finds them")
committed_total = Counter("vna_committed", "Spool entries by what became of them", ["outcome"])
committed_bytes = Counter("vna_committed_bytes", "Bytes of committed instances")
commit_seconds = Histogram("vna_commit_seconds", "Time of one batch, seconds", buckets=_SECONDS)
commitments_total = Counter("vna_commitments", "Storage commitments by what became of them", ["outcome"])
commitments_open = Gauge(
    "vna_commitments_open", "Storage commitments not reported yet, at the last look", multiprocess_mode="mostrecent"
)
audit_lost_total = Counter("vna_audit_lost", "Audit events that the disk did not take")
sweep_sent_total = Counter("vna_sweep_sent", "Entries that the sweeper sent again")
worker_deaths_total = Counter("vna_worker_deaths", "Workers found dead with entries in hand")
damage_total = Counter("vna_damage", "Things found wrong with what is stored", ["wrong"])
verified_total = Counter("vna_verified", "Stored instances that were read and compared")
verified_bytes = Counter("vna_verified_bytes", "Bytes of them")
damaged_keys = Gauge("vna_damaged_keys", "Keys with which something is wrong now", multiprocess_mode="mostrecent")
spool_entries = Gauge("vna_spool_entries", "Entries in the spool at the last sweep", multiprocess_mode="mostrecent")
spool_oldest_seconds = Gauge(
    "vna_spool_oldest_seconds", "Age of the oldest entry at the last sweep", multiprocess_mode="mostrecent"
)

# Libraries that tell of every request, message or connection: below warnings, only when debugging.
_CHATTY = (
    "pynetdicom",
    "botocore",
    "boto3",
    "urllib3",
    "elastic_transport",
    "kombu",
    "uvicorn",
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.beat",
    "celery.worker.consumer",
)

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, to be served as ``METRICS_CONTENT_TYPE``."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return _generate(REGISTRY)
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return _generate(registry)


def configure(settings: LogSettings) -> None:
    """Set up logging of this process; calling it again replaces what was set up."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # A decoder that fails is followed by the next one; what all failed at is reported by an error of our own.
    # Not "pydicom" itself, whose level is set back when pydicom is imported.
    logging.getLogger("pydicom.pixels").setLevel(logging.CRITICAL)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(level if level == logging.DEBUG else logging.WARNING)


def _renderers(settings: LogSettings) -> list[Processor]:
    # Tracebacks without local variables: those hold names of patients, and secrets.
    if settings.format == "json":
        return [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    ]
