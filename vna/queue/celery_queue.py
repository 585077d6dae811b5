"""The queue by Celery on Redis or Valkey.

What was learned of both, and is settled here for the sender and in
``workers.app`` for the workers: without ``socket_timeout`` a publish to a
frozen broker hangs for ever; without ``max_retries`` a connection is tried for
ever; a message whose exchange binding was flushed away is lost without a
sound, so queues are addressed directly (the default exchange), which needs no
binding.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vna.config import QueueSettings
from vna.domain.errors import ConfigurationError, OutOfResourcesError, UnavailableError
from vna.ports.queue import Queue

# A second of work and 40 MiB: paid in the thread that first speaks to the broker, not when a gateway starts.
if TYPE_CHECKING:
    from celery import Celery
    from kombu import Queue as KombuQueue
    from redis import Redis

# Where Celery keeps what workers have taken and not finished: every queue's, by delivery tag, and the times.
_TAKEN = "unacked"
_TAKEN_TIMES = "unacked_index"
# Written to see whether there is room for a few messages, and gone by itself: a broker at the brink takes a word,
# and refuses a message, which counts while it is read.
_PROBE = "vna.room"
_PROBE_BYTES = bytes(64 << 10)
# Between the polite end of a task and the hard one, at least, in seconds.
GRACE_SECONDS = 60.0

_SCHEMES = frozenset({"redis", "rediss", "redis+socket", "unix"})


def direct_queue(name: str) -> KombuQueue:
    """Return a queue that is addressed by its name alone."""
    from kombu import Exchange
    from kombu import Queue as KombuQueue

    return KombuQueue(name, Exchange("", type="direct"), routing_key=name)


def broker_conf(url: str, settings: QueueSettings) -> dict[str, Any]:
    """Return the Celery configuration of the broker, for sender and worker alike.

    Raises
    ------
    ConfigurationError
        The URL is of no broker that the archive can use.
    """
    if urlsplit(url).scheme not in _SCHEMES:
        raise ConfigurationError(
            f"VNA_QUEUE__BROKER (queue.broker): a URL of redis://, rediss:// or redis+socket:// is needed (got {url!r})"
        )
    return {
        "broker_url": url.replace("unix://", "redis+socket://", 1) if url.startswith("unix://") else url,
        "broker_connection_timeout": settings.timeout_seconds,
        "broker_transport_options": {
            "visibility_timeout": settings.visibility_seconds,
            "socket_timeout": settings.timeout_seconds,
            "socket_connect_timeout": settings.timeout_seconds,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_default_exchange": "",
        "task_default_exchange_type": "direct",
        "result_backend": None,
        "task_repr_maxlevels": 1,
        "task_send_sent_event": False,
        "enable_utc": True,
    }


@cache
def _errors() -> tuple[type[Exception], ...]:
    """Return what the clients raise when the broker does not do what it should."""
    from kombu.exceptions import KombuError
    from redis.exceptions import RedisError

    return (KombuError, RedisError, OSError)


def client_url(url: str) -> str:
    """Return a broker URL as redis-py spells it: ``redis+socket://`` is ``unix://`` there."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    query = parts.query.replace("virtual_host=", "db=")
    return f"unix://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")


class CeleryQueue(Queue):
    """Sends Celery messages. Safe for use by many threads, and after a fork.

    Parameters
    ----------
    broker_url
        URL of the broker.
    settings
        Time-outs.
    """

    def __init__(self, broker_url: str, settings: QueueSettings) -> None:
        self._url = broker_url
        self._settings = settings
        self._conf = broker_conf(broker_url, settings)
        # One attempt: a caller who is refused has the spool to fall back on.
        self._conf["broker_transport_options"] |= {"max_retries": 0}
        self._conf |= {
            "task_publish_retry": False,
            "broker_pool_limit": 4,
            "broker_pool_acquire_timeout": settings.timeout_seconds,
        }
        self._pid = 0
        self._app: Celery | None = None
        self._client: Redis | None = None
        self._making = threading.Lock()

    def _parts(self) -> tuple[Celery, Redis]:
        from celery import Celery
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        with self._making:
            if self._app is None or self._client is None or self._pid != os.getpid():
                # Sockets of the process we were forked from are not ours to use, nor to close.
                self._app = Celery("vna.queue", set_as_current=False, fixups=[])
                self._app.conf.update(self._conf)
                self._client = Redis.from_url(
                    client_url(self._url),
                    socket_timeout=self._settings.timeout_seconds,
                    socket_connect_timeout=self._settings.timeout_seconds,
                    retry=Retry(NoBackoff(), 0),
                )
                self._pid = os.getpid()
            return self._app, self._client

    def enqueue(self, task: str, args: Sequence[Any], queue: str, *, seconds: float | None = None) -> None:
        """Send one task; raises ``UnavailableError`` within a few time-outs at most."""
        app, _ = self._parts()
        try:
            app.send_task(
                task,
                args=list(args),
                queue=direct_queue(queue),  # type: ignore[arg-type]  # the stubs know of names alone
                ignore_result=True,
                retry=False,
                add_to_parent=False,
                argsrepr="",
                kwargsrepr="",
                soft_time_limit=math.ceil(seconds) if seconds else None,
                time_limit=math.ceil(seconds + max(GRACE_SECONDS, seconds / 10)) if seconds else None,
            )
        except _errors() as error:
            raise self._away(error) from error

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; those that workers hold are not counted."""
        _, client = self._parts()
        try:
            return int(client.llen(queue))
        except _errors() as error:
            raise self._away(error) from error

    def held(self) -> int:
        """Return how many messages workers have taken and not finished, those that wait for their time included."""
        _, client = self._parts()
        try:
            return int(client.hlen(_TAKEN))
        except _errors() as error:
            raise self._away(error) from error

    def discard(self, queue: str) -> int:
        """Drop the messages of a queue, taken or not; a full Redis or Valkey allows it."""
        _, client = self._parts()
        try:
            with client.pipeline() as pipe:
                pipe.llen(queue)
                pipe.delete(queue)
                dropped = int(pipe.execute()[0])
            for tag, message in client.hscan_iter(_TAKEN, count=100):
                # What was sent, its exchange and its routing key, which is the name of the queue.
                if json.loads(message)[-1] == queue:
                    dropped += 1
                    client.hdel(_TAKEN, tag)
                    client.zrem(_TAKEN_TIMES, tag)
        except _errors() as error:
            raise self._away(error) from error
        return dropped

    def check(self) -> None:
        """Check that the broker takes messages, by a write that lasts a second."""
        from redis.exceptions import OutOfMemoryError

        _, client = self._parts()
        try:
            client.set(_PROBE, _PROBE_BYTES, px=1000)
        except OutOfMemoryError as error:
            raise OutOfResourcesError(f"broker {self._where()} is full: {error}") from error
        except _errors() as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"broker {self._where()}: {type(error).__name__}: {error}")

    def _where(self) -> str:
        where = urlsplit(self._url)
        return where.hostname or where.path

    def close(self) -> None:
        """Release connections."""
        with self._making:
            if self._pid == os.getpid():
                if self._app is not None:
                    self._app.close()
                if self._client is not None:
                    self._client.close()
            self._app = self._client = None
