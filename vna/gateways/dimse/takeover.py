"""Takes the connection of an established association from pynetdicom's reactor for the time of one operation.

pynetdicom serves an association by two threads that poll, keeps what is to be
sent in a queue without limit, and wants a data set whole. An operation that
answers at length does so on the socket itself, blocking: what the peer does not
take is not made.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RQ

from vna.peers.channel import ABORT, Channel, ChannelClosedError, ProtocolError

_ESTABLISHED = "Sta6"  # PS3.8 9.2: association established, ready for data transfer
_SECONDS = 10.0
_CALM_SECONDS = 0.01


class _Parked:
    """Stands in for pynetdicom's socket: nothing to read; all else is the real one's."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.seen = threading.Event()

    @property
    def ready(self) -> bool:
        """Say that nothing has arrived, and note that the reactor has begun a new round."""
        self.seen.set()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Takeover:
    """The channel of an association while the reactor leaves it alone.

    Use as a context manager in the association's own thread. An end of the
    association that the block meets is passed on to pynetdicom, which then
    acts on it as if it had read it, and the error is swallowed.

    Parameters
    ----------
    assoc
        An association that is established, as acceptor.
    silence
        Longest wait for the peer, seconds.
    """

    def __init__(self, assoc: Association, silence: float) -> None:
        self._assoc = assoc
        self._dul: Any = assoc.dul
        self._silence = silence

    def __enter__(self) -> Self:
        """Park the reactor; raises ``ChannelClosedError`` when the association is ending."""
        dul = self._dul
        self._real = dul.socket
        connection = self._real.socket if self._real is not None else None
        if connection is None:
            raise ChannelClosedError("connection closed")
        parked = _Parked(self._real)
        dul.socket = parked
        # Once it has looked at the stand-in the reactor is done with all that it had read before.
        if not parked.seen.wait(_SECONDS) or dul.state_machine.current_state != _ESTABLISHED:
            dul.socket = self._real
            raise ChannelClosedError("the association is ending")
        self._delay = dul._run_loop_delay  # noqa: SLF001 - how often the reactor looks has no public setting
        dul._run_loop_delay = _CALM_SECONDS  # noqa: SLF001
        self._timeout = connection.gettimeout()
        self._connection = connection
        connection.settimeout(self._silence)
        own_max = self._assoc.acceptor.maximum_length or 0
        self.channel = Channel(connection, self._assoc.requestor.maximum_length or 0, own_max)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Give the connection back."""
        dul = self._dul
        dul._run_loop_delay = self._delay  # noqa: SLF001 - as above
        if self._real.socket is self._connection:
            self._connection.settimeout(self._timeout)
        dul.socket = self._real
        dul._idle_timer.restart()  # noqa: SLF001 - the reactor did not see that the peer was busy
        if kind is None:
            return False
        if isinstance(error, ChannelClosedError) and not isinstance(error, ProtocolError):
            self._pass_on(error)
            return True
        # A message was cut short, or the peer broke the protocol: nothing else can follow on this association.
        self._assoc.abort(block=False)
        return isinstance(error, ChannelClosedError)

    def _pass_on(self, error: ChannelClosedError) -> None:
        if self._dul.state_machine.current_state != _ESTABLISHED:
            # Somebody has aborted the association meanwhile, which is why the connection is closed.
            return
        if not error.pdu:
            self._dul.event_queue.put("Evt17")  # transport connection closed
            return
        aborted = error.pdu[0] == ABORT
        pdu = A_ABORT_RQ() if aborted else A_RELEASE_RQ()
        pdu.decode(error.pdu)
        self._dul._recv_pdu.put(pdu)  # noqa: SLF001 - the queue of what the reactor has read
        self._dul.event_queue.put("Evt16" if aborted else "Evt12")
