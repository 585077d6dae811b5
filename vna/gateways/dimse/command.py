"""Command sets of C-STORE and C-ECHO (PS3.7 9.3, E): read and written without a data set being decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vna.gateways.dimse.pdu import ABORT_INVALID_PARAMETER, PduError

MAX_COMMAND = 1 << 16
"""Longest command set that is read; those of the storage service have some 300 bytes."""

# Command fields (PS3.7 E.1).
C_STORE_RQ = 0x0001
C_ECHO_RQ = 0x0030
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000

# Statuses (PS3.7 C, PS3.4 B.2.3).
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_SOP_INSTANCE = 0x0117
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNISED_OPERATION = 0x0211
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

_NO_DATA_SET = 0x0101
_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<HHIH")
_GROUP_LENGTH = struct.Struct("<HHII")


@dataclass(frozen=True, slots=True)
class Command:
    """A request as its command set says it (PS3.7 9.3.1.1, 9.3.5.1)."""

    field: int
    message_id: int
    sop_class: bytes
    sop_instance: bytes
    has_data_set: bool


def parse_command(data: bytes | bytearray) -> Command:
    """Read a command set (Implicit VR Little Endian, PS3.7 6.3.1).

    Raises
    ------
    PduError
        It is no command set, or says not what is asked or by which message.
    """
    values: dict[int, bytes] = {}
    at, size = 0, len(data)
    while at < size:
        if size - at < 8:
            raise PduError("command set: bytes left over", ABORT_INVALID_PARAMETER)
        group, element, length = _ELEMENT.unpack_from(data, at)
        at += 8
        if group or length > size - at:
            raise PduError(f"command set: element ({group:04X},{element:04X})", ABORT_INVALID_PARAMETER)
        values[element] = bytes(data[at : at + length])
        at += length
    try:
        return Command(
            field=int.from_bytes(_two(values[0x0100]), "little"),
            message_id=int.from_bytes(_two(values.get(0x0110, values.get(0x0120, b""))), "little"),
            sop_class=values.get(0x0002, b"").rstrip(b"\0 "),
            sop_instance=values.get(0x1000, b"").rstrip(b"\0 "),
            has_data_set=int.from_bytes(_two(values[0x0800]), "little") != _NO_DATA_SET,
        )
    except (KeyError, ValueError) as error:
        raise PduError(f"command set: {error} is missing or mistyped", ABORT_INVALID_PARAMETER) from error


def _two(value: bytes) -> bytes:
    if len(value) != 2:
        raise ValueError("an unsigned short")
    return value


def _padded(value: bytes, pad: bytes) -> bytes:
    return value + pad if len(value) & 1 else value


def encode_reply(command: Command, status: int, comment: str = "") -> bytes:
    """Return the command set of a response (PS3.7 9.3.1.2, 9.3.5.2).

    Parameters
    ----------
    command
        The request.
    status
        Status (0000,0900).
    comment
        Error Comment (0000,0902), for a person; cut to 64 characters.
    """
    parts = []
    if command.sop_class:
        value = _padded(command.sop_class, b"\0")
        parts += [_ELEMENT.pack(0, 0x0002, len(value)), value]
    parts.append(_US.pack(0, 0x0100, 2, command.field | RESPONSE))
    parts.append(_US.pack(0, 0x0120, 2, command.message_id))
    parts.append(_US.pack(0, 0x0800, 2, _NO_DATA_SET))
    parts.append(_US.pack(0, 0x0900, 2, status))
    if comment:
        value = _padded(comment[:64].encode("ascii", "replace"), b" ")
        parts += [_ELEMENT.pack(0, 0x0902, len(value)), value]
    if command.sop_instance:
        value = _padded(command.sop_instance, b"\0")
        parts += [_ELEMENT.pack(0, 0x1000, len(value)), value]
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body
