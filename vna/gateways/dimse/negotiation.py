"""Association negotiation (PS3.8 9.3.2 to 9.3.4, annex D; PS3.7 annex D) for the storage and verification services."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from vna.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from vna.gateways.dimse.contexts import APPLICATION_CONTEXT, VERIFICATION, Supported
from vna.gateways.dimse.pdu import (
    ABORT_INVALID_PARAMETER,
    ASSOCIATE_AC,
    HEADER,
    PduError,
)
from vna.gateways.dimse.rejection import Rejection, reject_application_context, reject_version

# Result of a presentation context (PS3.8 table 9-18).
ACCEPTED = 0
USER_REJECTION = 1
NO_REASON = 2
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4

# Items and sub-items (PS3.8 9.3.2, D.1; PS3.7 D.3.3).
_APPLICATION_CONTEXT = 0x10
_CONTEXT_RQ = 0x20
_CONTEXT_AC = 0x21
_ABSTRACT_SYNTAX = 0x30
_TRANSFER_SYNTAX = 0x40
_USER_INFORMATION = 0x50
_MAXIMUM_LENGTH = 0x51
_IMPLEMENTATION_CLASS = 0x52
_ASYNC_WINDOW = 0x53
_ROLE_SELECTION = 0x54
_IMPLEMENTATION_VERSION = 0x55
_EXTENDED = 0x56
_USER_IDENTITY = 0x58

_FIXED = 68
"""Bytes of an A-ASSOCIATE-RQ or -AC between the PDU header and the variable items."""

# Storage extended negotiation (PS3.4 B.3.1): level 2 (full), digital signature level 3 (bit preserving), and no
# coercion of elements: the object is kept as received.
_STORAGE_APPLICATION_INFORMATION = bytes((2, 0, 3, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as proposed (PS3.8 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(slots=True)
class AssociateRequest:
    """What an A-ASSOCIATE-RQ says. Unknown items are passed over, as PS3.8 9.3.1 asks."""

    protocol_version: int
    called: str
    calling: str
    fixed: bytes
    application_context: str = ""
    contexts: list[ProposedContext] = field(default_factory=list)
    max_length: int = 0
    implementation_class: str = ""
    implementation_version: str = ""
    window: tuple[int, int] | None = None
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)
    user_identity: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


def _items(data: memoryview, what: str) -> Iterator[tuple[int, memoryview]]:
    at, size = 0, len(data)
    while at < size:
        if size - at < 4:
            raise PduError(f"{what}: {size - at} bytes left over", ABORT_INVALID_PARAMETER)
        kind, length = struct.unpack_from(">BxH", data, at)
        at += 4
        if length > size - at:
            raise PduError(f"{what}: item 0x{kind:02X} is longer than what holds it", ABORT_INVALID_PARAMETER)
        yield kind, data[at : at + length]
        at += length


def _text(data: memoryview) -> str:
    # Titles are ISO 646 and UIDs digits and points; what is not shall neither be recognised nor crash.
    return bytes(data).decode("ascii", "replace").strip(" \0")


def parse_request(pdu: bytes) -> AssociateRequest:
    """Read an A-ASSOCIATE-RQ, its header included; raises ``PduError`` if it is broken."""
    body = memoryview(pdu)[HEADER:]
    if len(body) < _FIXED:
        raise PduError("A-ASSOCIATE-RQ is too short", ABORT_INVALID_PARAMETER)
    (version,) = struct.unpack_from(">H", body)
    request = AssociateRequest(version, _text(body[4:20]), _text(body[20:36]), bytes(body[:_FIXED]))
    for kind, item in _items(body[_FIXED:], "A-ASSOCIATE-RQ"):
        if kind == _APPLICATION_CONTEXT:
            request.application_context = _text(item)
        elif kind == _CONTEXT_RQ:
            request.contexts.append(_proposed(item))
        elif kind == _USER_INFORMATION:
            for sub_kind, sub in _items(item, "user information"):
                _user_information(request, sub_kind, sub)
    ids = [context.id for context in request.contexts]
    if len(set(ids)) != len(ids) or any(number % 2 == 0 for number in ids):
        raise PduError("presentation context IDs are not odd and distinct", ABORT_INVALID_PARAMETER)
    if not ids:
        raise PduError("no presentation context", ABORT_INVALID_PARAMETER)
    return request


def _proposed(item: memoryview) -> ProposedContext:
    if len(item) < 4:
        raise PduError("presentation context is too short", ABORT_INVALID_PARAMETER)
    abstract, transfer = "", []
    for kind, value in _items(item[4:], "presentation context"):
        if kind == _ABSTRACT_SYNTAX:
            abstract = _text(value)
        elif kind == _TRANSFER_SYNTAX:
            transfer.append(_text(value))
    return ProposedContext(item[0], abstract, tuple(transfer))


def _counted(value: memoryview) -> tuple[memoryview, memoryview]:
    """Split off a value that a two-byte length precedes."""
    if len(value) < 2:
        raise PduError("user information sub-item is too short", ABORT_INVALID_PARAMETER)
    (length,) = struct.unpack_from(">H", value)
    if length > len(value) - 2:
        raise PduError("user information sub-item: length over its end", ABORT_INVALID_PARAMETER)
    return value[2 : 2 + length], value[2 + length :]


def _user_information(request: AssociateRequest, kind: int, value: memoryview) -> None:
    if kind == _MAXIMUM_LENGTH and len(value) == 4:
        (request.max_length,) = struct.unpack(">I", value)
    elif kind == _IMPLEMENTATION_CLASS:
        request.implementation_class = _text(value)
    elif kind == _IMPLEMENTATION_VERSION:
        request.implementation_version = _text(value)
    elif kind == _ASYNC_WINDOW and len(value) == 4:
        invoked, performed = struct.unpack(">HH", value)
        request.window = (invoked, performed)
    elif kind == _ROLE_SELECTION:
        uid, rest = _counted(value)
        if len(rest) >= 2:
            request.roles[_text(uid)] = (rest[0] != 0, rest[1] != 0)
    elif kind == _EXTENDED:
        uid, rest = _counted(value)
        request.extended[_text(uid)] = bytes(rest)
    elif kind == _USER_IDENTITY and value:
        request.user_identity = value[0]


def choose(proposed: ProposedContext, request: AssociateRequest, supported: Supported) -> tuple[int, str]:
    """Return result and transfer syntax for a proposed context.

    The requestor's order decides among the transfer syntaxes that are supported
    (PS3.8 9.3.2.2.3 leaves the choice open): a modality names first what it has,
    so that it need not convert.
    """
    first = proposed.transfer_syntaxes[0] if proposed.transfer_syntaxes else ""
    if not supported.receives(proposed.abstract_syntax):
        return ABSTRACT_SYNTAX_NOT_SUPPORTED, first
    scu, _scp = request.roles.get(proposed.abstract_syntax, (True, False))
    if not scu:
        # It will not send (PS3.7 D.3.3.4), and this service does nothing but receive.
        return USER_REJECTION, first
    for syntax in proposed.transfer_syntaxes:
        if syntax in supported.transfer_syntaxes:
            return ACCEPTED, syntax
    return TRANSFER_SYNTAXES_NOT_SUPPORTED, first


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def accept(request: AssociateRequest, supported: Supported, max_pdu: int) -> tuple[bytes, dict[int, Context]]:
    """Answer a request for storage and verification.

    Parameters
    ----------
    request
        The request; version, application context and titles were checked.
    supported
        What is accepted.
    max_pdu
        Maximum length to announce.

    Returns
    -------
    bytes
        The A-ASSOCIATE-AC PDU (PS3.8 9.3.3).
    dict of int to Context
        Accepted contexts by their IDs.
    """
    contexts: dict[int, Context] = {}
    items = [_item(_APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode())]
    for proposed in request.contexts:
        result, syntax = choose(proposed, request, supported)
        if result == ACCEPTED:
            contexts[proposed.id] = Context(proposed.id, proposed.abstract_syntax, syntax)
        value = bytes((proposed.id, 0, result, 0)) + _item(_TRANSFER_SYNTAX, syntax.encode("ascii", "replace"))
        items.append(_item(_CONTEXT_AC, value))
    items.append(_item(_USER_INFORMATION, _user_answer(request, supported, max_pdu)))
    body = request.fixed + b"".join(items)
    # Protocol version 1 whatever further bits the requestor sets (PS3.8 9.3.3); the titles go back as they came.
    body = struct.pack(">H", 1) + body[2:]
    return struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body, contexts


def _user_answer(request: AssociateRequest, supported: Supported, max_pdu: int) -> bytes:
    out = [
        _item(_MAXIMUM_LENGTH, struct.pack(">I", max_pdu)),
        _item(_IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode()),
    ]
    if request.window is not None:
        # Requests are answered one after the other, in their order (PS3.7 D.3.3.3).
        out.append(_item(_ASYNC_WINDOW, struct.pack(">HH", 1, 1)))
    proposed = {context.abstract_syntax for context in request.contexts}
    for uid, (scu, _scp) in request.roles.items():
        if uid in proposed and supported.receives(uid):
            raw = uid.encode("ascii", "replace")
            # Never more than was proposed; the archive is no SCU on this association (PS3.7 D.3.3.4).
            out.append(_item(_ROLE_SELECTION, struct.pack(">H", len(raw)) + raw + bytes((scu, 0))))
    out.append(_item(_IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode()))
    for uid in request.extended:
        if uid in proposed and uid != VERIFICATION and uid in supported.storage:
            raw = uid.encode("ascii", "replace")
            value = struct.pack(">H", len(raw)) + raw + _STORAGE_APPLICATION_INFORMATION
            out.append(_item(_EXTENDED, value))
    # Common extended negotiation has no answer (PS3.7 D.3.3.6). User identity gets none either: no identity is
    # verified, and an acceptor that verifies none accepts without a positive response (PS3.7 D.3.3.7).
    return b"".join(out)


def check_protocol(request: AssociateRequest) -> Rejection | None:
    """Return why the request cannot be served by any service, or None."""
    if not request.protocol_version & 1:
        return reject_version(f"protocol version {request.protocol_version:#06x}")
    if request.application_context != APPLICATION_CONTEXT:
        return reject_application_context(f"application context {request.application_context!r}")
    return None
