"""Bounds what pynetdicom collects of one message: it holds a data set whole, however long."""

from __future__ import annotations

from typing import Any

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA


class Intake:
    """Cuts the data sets of an association off where they are too long to be served.

    What comes behind is passed over. One byte more than the limit is kept, by which
    whoever serves the message knows that it was cut.

    Parameters
    ----------
    assoc
        An association that is established, as acceptor. Storage, which takes its own
        messages out, is put before this.
    most
        Longest data set.
    """

    def __init__(self, assoc: Association, most: int) -> None:
        dimse: Any = assoc.dimse
        self._usual = dimse.receive_primitive
        self._most = most
        self._length = 0
        dimse.receive_primitive = self.receive  # there is no hook for it

    def receive(self, primitive: P_DATA) -> None:
        """Pass a P-DATA indication on, without what is too much."""
        bounded = P_DATA()
        for context_id, data in primitive.presentation_data_value_list:
            piece = data
            if data and not data[0] & 1:
                room = max(0, self._most + 1 - self._length)
                self._length = 0 if data[0] & 2 else self._length + len(data) - 1
                piece = data[: 1 + room]
            bounded.presentation_data_value_list.append((context_id, piece))
        self._usual(bounded)
