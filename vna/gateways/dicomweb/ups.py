"""UPS-RS: create, retrieve, update, change of state and request to cancel (PS3.18 11.4 to 11.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from urllib.parse import quote
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import ArchiveError, InvalidInputError
from vna.domain.records import Attributes
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.ups_answers import (
    CREATED_WITH_CHANGES,
    UPDATED_WITH_CHANGES,
    Transaction,
    already,
    refusal,
    warning,
)
from vna.gateways.dicomweb.ups_body import read_data_set
from vna.workitems import tags, writing
from vna.workitems.dataset import is_ae_title, is_uid
from vna.workitems.record import WorkItem

P = ParamSpec("P")
T = TypeVar("T")

OFFERS = (
    Offer("application/dicom+json", related=False),
    Offer("application/json", related=False),
    Offer("application/dicom+xml", related=True),
    Offer("application/dicom+xml", related=False),
)
COMMON = frozenset({"accept", "charset"})
"""Query parameters of every transaction (PS3.18 11.1.2)."""

_NO_AE = re.compile(r"[^\x20-\x5b\x5d-\x7e]")


async def create(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /workitems``; the UID is in the query or in the data set, or is made."""
    uid = _uid_in_query(request, "workitem")
    given = await read_data_set(request)
    uid = uid or writing.uid_within(given)
    made = not uid
    call = gateway.archive.worklist.create
    item, changed = await run(gateway, Transaction.CREATE, call, given, uid or f"2.25.{uuid4().int}", who(request))
    note(request, item)
    headers = warning(CREATED_WITH_CHANGES) if changed or made else {}
    return Response(status_code=201, headers={"Location": _url(gateway, request, item.uid), **headers})


async def retrieve(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /workitems/{workitem}``."""
    _only(request, COMMON)
    choice = negotiate(gateway.accept(request), OFFERS)
    item = await run(gateway, Transaction.RETRIEVE, gateway.archive.worklist.get, _target(request))
    note(request, item)
    answer = represent([item.attributes], choice.offer)
    answer.headers["Content-Location"] = _url(gateway, request, item.uid)
    return answer


async def update(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /workitems/{workitem}``; the Transaction UID is in the query or in the data set."""
    transaction = _uid_in_query(request, "transaction-uid")
    given = await read_data_set(request)
    call = gateway.archive.worklist.update
    item, changed = await run(gateway, Transaction.UPDATE, call, _target(request), given, transaction, who(request))
    note(request, item)
    headers = warning(UPDATED_WITH_CHANGES) if changed else {}
    return Response(status_code=200, headers={"Content-Location": _url(gateway, request, item.uid), **headers})


async def change_state(gateway: Gateway, request: Request) -> Response:
    """Answer ``PUT /workitems/{workitem}/state``."""
    _only(request, COMMON)
    given = await read_data_set(request)
    call = gateway.archive.worklist.change_state
    item, changed = await run(gateway, Transaction.CHANGE_STATE, call, _target(request), given, who(request))
    note(request, item)
    return Response(status_code=200, headers={} if changed else warning(already(item.state)))


async def request_cancel(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /workitems/{workitem}/cancelrequest``; who asks is named in the payload, or by the credentials."""
    _only(request, COMMON)
    given = await read_data_set(request, optional=True)
    ae_title = tags.text(given, tags.REQUESTING_AE) or _NO_AE.sub("_", who(request))[:16]
    if not is_ae_title(ae_title):
        raise InvalidInputError(f"Requesting AE (0074,1236) {ae_title[:32]!r} is no AE title")
    call = gateway.archive.worklist.request_cancel
    item = await run(gateway, Transaction.CANCEL, call, _target(request), given, ae_title, who(request))
    note(request, item)
    return Response(status_code=202)


async def run(gateway: Gateway, transaction: Transaction, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call on the worklist in a thread; what it refuses is answered as the transaction's tables say."""
    try:
        return await gateway.in_thread(call, *args, **kwargs)
    except ArchiveError as error:
        answer = refusal(transaction, error)
        if answer is None:
            raise
        raise answer from error


def represent(data_sets: list[Attributes], offer: Offer) -> Response:
    """Return an answer with data sets in the form that was agreed on."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept, Authorization, Cookie"}
    if offer.content != "application/dicom+xml":
        return Response(orjson.dumps(data_sets), headers=headers, media_type=offer.content)
    if not offer.related:
        if len(data_sets) != 1:
            raise HttpError(
                406,
                "not-acceptable",
                'several work items are to be had as multipart/related; type="application/dicom+xml"',
            )
        return Response(to_native_xml(data_sets[0]), headers=headers, media_type=offer.content)
    boundary = new_boundary()
    parts = (({"Content-Type": offer.content}, (to_native_xml(each),)) for each in data_sets)
    return Response(
        b"".join(write_related(parts, boundary)), headers=headers, media_type=related_type(offer.content, boundary)
    )


def who(request: Request) -> str:
    """Return who asks."""
    return str(request.state.principal.name)


def note(request: Request, item: WorkItem) -> None:
    """Note which study and patient an answer is about, for the audit trail."""
    request.state.workitem = (tags.text(item.attributes, tags.STUDY), tags.text(item.attributes, tags.PATIENT_ID))


def _target(request: Request) -> str:
    uid = str(request.path_params["workitem"])
    if not is_uid(uid):
        raise InvalidInputError(f"{uid[:80]!r} is no UID")
    return uid


def _url(gateway: Gateway, request: Request, uid: str) -> str:
    return f"{gateway.links(request).root}/workitems/{quote(uid, safe='')}"


def _only(request: Request, known: frozenset[str]) -> None:
    for name in request.query_params:
        if name not in known:
            raise HttpError(400, "invalid-query", f"there is no parameter {name[:64]!r} here")


def _uid_in_query(request: Request, name: str) -> str:
    """Return the UID in a query, empty for none: by its name, or by itself as the syntax of PS3.18 11 has it."""
    found: list[str] = []
    for key, value in request.query_params.multi_items():
        if key == name and value:
            found.append(value)
        elif is_uid(key) and not value:
            found.append(key)
        elif key not in COMMON:
            raise HttpError(400, "invalid-query", f"there is no parameter {key[:64]!r} here")
    if len(found) > 1:
        raise HttpError(400, "invalid-query", f"{name}: stands twice")
    return found[0] if found else ""
