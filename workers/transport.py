"""Celery's Redis transport, with two holes closed.

A worker that could not acknowledge stops working. An acknowledgement that
fails, since the broker froze or died just then, is logged by Celery and
otherwise passed over. The message goes on counting as in work, and with a
prefetch of one the worker, connected and alive, never takes another. Here the
place is given back although the broker was not told. The broker gives the
message out again after the visibility timeout; that it was done already does no
harm.

A worker that meets a full broker ends, and ends again when it is started. Here
that counts as a lost connection: Celery connects anew, and room is made before
it takes a message (:mod:`workers.room`).
"""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import OutOfMemoryError


class SlotQoS(redis.QoS):
    """Counts a message as done even if the broker could not be told."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


class SlotChannel(redis.Channel):
    """A channel with :class:`SlotQoS`."""

    QoS = SlotQoS


class SlotTransport(redis.Transport):
    """The transport with such channels, which connects anew when the broker is full."""

    Channel = SlotChannel
    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError)


def register() -> None:
    """Use this transport for the URLs of Redis and Valkey in this process, from now on."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:SlotTransport"
