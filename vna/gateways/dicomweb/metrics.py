"""What the gateway counts, for Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import multiprocess as shared
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vna.gateways.dicomweb.stow_outcome import Outcome

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one gateway process; with several processes, the sum of all is shown."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vna_http_requests", "Requests answered", ("resource", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "vna_http_seconds",
            "Seconds from a request's head to the end of its answer",
            ("resource", "method"),
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self._registry,
        )
        self._active = Gauge(
            "vna_http_active", "Requests being answered", registry=self._registry, multiprocess_mode="livesum"
        )
        self._channels = Gauge(
            "vna_ups_channels", "Open notification channels", registry=self._registry, multiprocess_mode="livesum"
        )
        self._channel_ends = Counter(
            "vna_ups_channel_ends", "Notification channels that ended", ("why",), registry=self._registry
        )
        self._events = Counter("vna_ups_events", "Events sent to subscribers", ("type",), registry=self._registry)
        self._parts = Counter("vna_stow_parts", "Parts of store requests", ("outcome",), registry=self._registry)

    def stored(self, outcomes: Iterable[Outcome]) -> None:
        """Count what became of the parts of a store request."""
        for outcome in outcomes:
            self._parts.labels(f"{outcome.reason:04x}" if outcome.reason else "stored").inc()

    def channel_opened(self) -> None:
        """Count a notification channel."""
        self._channels.inc()

    def channel_closed(self, why: str) -> None:
        """Count one that ended: by the ``client``, ``slow``, for its ``credentials``, by ``shutdown``."""
        self._channels.dec()
        self._channel_ends.labels(why).inc()

    def event_sent(self, kind: int) -> None:
        """Count an event that was sent, by its Event Type ID."""
        self._events.labels(str(kind)).inc()

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        everything = CollectorRegistry()
        shared.MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)

    def count(self, app: ASGIApp) -> ASGIApp:
        """Return an application that counts the requests that it passes on."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started = time.perf_counter()
            status = 500

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            self._active.inc()
            try:
                await app(scope, receive, noted)
            finally:
                self._active.dec()
                # By route, never by path: UIDs would make a series of their own each.
                route = scope.get("route")
                resource = getattr(route, "name", "none")
                self._requests.labels(resource, scope["method"], str(status)).inc()
                self._seconds.labels(resource, scope["method"]).observe(time.perf_counter() - started)

        return counted
