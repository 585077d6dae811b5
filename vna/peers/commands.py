"""Command sets of DIMSE (PS3.7 6.3.1, annex E): always Implicit VR Little Endian, a handful of short elements."""

from __future__ import annotations

import struct
from collections.abc import Iterable

# Command Field (0000,0100), PS3.7 E.1; a response has the highest bit set.
C_STORE_RQ = 0x0001
C_GET_RQ = 0x0010
C_FIND_RQ = 0x0020
C_MOVE_RQ = 0x0021
C_ECHO_RQ = 0x0030
N_EVENT_REPORT_RQ = 0x0100
N_ACTION_RQ = 0x0130
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000

NO_DATA_SET = 0x0101
DATA_SET = 0x0001

AFFECTED_SOP_CLASS = 0x0002
COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
RESPONDED_TO = 0x0120
MOVE_DESTINATION = 0x0600
PRIORITY = 0x0700
DATA_SET_TYPE = 0x0800
STATUS = 0x0900
OFFENDING_ELEMENT = 0x0901
ERROR_COMMENT = 0x0902
AFFECTED_SOP_INSTANCE = 0x1000
EVENT_TYPE = 0x1002
ACTION_TYPE = 0x1008
REMAINING = 0x1020
COMPLETED = 0x1021
FAILED = 0x1022
WARNING = 0x1023
MOVE_ORIGINATOR = 0x1030
MOVE_ORIGINATOR_ID = 0x1031

_ELEMENT = struct.Struct("<HHI")
_UIDS = frozenset({AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE, 0x0003, 0x1001})

Value = int | str | bytes


def encode(elements: Iterable[tuple[int, Value]]) -> bytes:
    """Encode a command set.

    Parameters
    ----------
    elements
        Element number (of group 0000) and value, in ascending order: an integer
        is US, a text is ASCII (a UID is padded with NUL, others with a space),
        bytes are taken as they are.
    """
    body = bytearray()
    for number, value in elements:
        if isinstance(value, int):
            raw = value.to_bytes(2, "little")
        elif isinstance(value, bytes):
            raw = value
        else:
            raw = value.encode("ascii", "replace")
            if len(raw) % 2:
                raw += b"\0" if number in _UIDS else b" "
        body += _ELEMENT.pack(0, number, len(raw)) + raw
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + bytes(body)


class Command(dict[int, bytes]):
    """A command set: raw values by element number."""

    @classmethod
    def decode(cls, data: bytes) -> Command:
        """Read a command set; raises ``ValueError`` if it is broken."""
        found = cls()
        place = 0
        while place < len(data):
            if len(data) - place < _ELEMENT.size:
                raise ValueError("command set ends within an element")
            group, number, length = _ELEMENT.unpack_from(data, place)
            place += _ELEMENT.size
            if group or length > len(data) - place:
                raise ValueError("command set has a foreign or overlong element")
            found[number] = data[place : place + length]
            place += length
        return found

    def number(self, element: int) -> int:
        """Return a US value; 0 if it is missing."""
        return int.from_bytes(self.get(element, b"")[:2], "little")

    def text(self, element: int) -> str:
        """Return a text without padding; empty if it is missing."""
        return self.get(element, b"").decode("ascii", "replace").strip(" \0")

    @property
    def field(self) -> int:
        """Command Field (0000,0100)."""
        return self.number(COMMAND_FIELD)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows (PS3.7 E.1, Command Data Set Type)."""
        return self.number(DATA_SET_TYPE) != NO_DATA_SET


def echo_request(message_id: int) -> bytes:
    """Return a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return encode(
        [
            (AFFECTED_SOP_CLASS, "1.2.840.10008.1.1"),
            (COMMAND_FIELD, C_ECHO_RQ),
            (MESSAGE_ID, message_id),
            (DATA_SET_TYPE, NO_DATA_SET),
        ]
    )


def store_request(
    sop_class: str, sop_instance: str, message_id: int, priority: int = 0, originator: tuple[str, int] | None = None
) -> bytes:
    """Return a C-STORE-RQ (PS3.7 9.3.1.1); ``originator`` is who asked for a C-MOVE, and its message ID."""
    elements: list[tuple[int, Value]] = [
        (AFFECTED_SOP_CLASS, sop_class),
        (COMMAND_FIELD, C_STORE_RQ),
        (MESSAGE_ID, message_id),
        (PRIORITY, priority),
        (DATA_SET_TYPE, DATA_SET),
        (AFFECTED_SOP_INSTANCE, sop_instance),
    ]
    if originator is not None:
        elements += [(MOVE_ORIGINATOR, originator[0]), (MOVE_ORIGINATOR_ID, originator[1])]
    return encode(elements)


def event_report_request(sop_class: str, sop_instance: str, message_id: int, event_type: int) -> bytes:
    """Return an N-EVENT-REPORT-RQ (PS3.7 10.3.1.1)."""
    return encode(
        [
            (AFFECTED_SOP_CLASS, sop_class),
            (COMMAND_FIELD, N_EVENT_REPORT_RQ),
            (MESSAGE_ID, message_id),
            (DATA_SET_TYPE, DATA_SET),
            (AFFECTED_SOP_INSTANCE, sop_instance),
            (EVENT_TYPE, event_type),
        ]
    )
