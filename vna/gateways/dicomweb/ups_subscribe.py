"""UPS-RS: subscribe, unsubscribe, suspend (PS3.18 11.10 to 11.12)."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from vna.domain.errors import InvalidInputError, InvalidQueryError
from vna.domain.query import Criterion
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.ups import COMMON, run, who
from vna.gateways.dicomweb.ups_answers import Transaction
from vna.gateways.dicomweb.ups_search import parse_request
from vna.workitems.dataset import is_ae_title, is_uid
from vna.workitems.tags import FILTERED, GLOBAL

# A comma within a value is one behind which no attribute is named.
_BETWEEN = re.compile(r",(?=[^,=]+=)")


async def subscribe(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /workitems/{workitem}/subscribers/{aetitle}``, for one, all, or all that match a filter."""
    uid, ae_title = target(request)
    lock, criteria = _parameters(request, filtered=uid == FILTERED)
    worklist = gateway.archive.worklist
    if uid in {GLOBAL, FILTERED}:
        await gateway.in_thread(worklist.subscribe_all, ae_title, who(request), lock=lock, criteria=criteria)
    else:
        await run(gateway, Transaction.RETRIEVE, worklist.subscribe, uid, ae_title, who(request), lock=lock)
    channel = f"{gateway.links(request).root}/subscribers/{quote(ae_title, safe='')}"
    return Response(status_code=201, headers={"Content-Location": channel.replace("http", "ws", 1)})


async def unsubscribe(gateway: Gateway, request: Request) -> Response:
    """Answer ``DELETE /workitems/{workitem}/subscribers/{aetitle}``."""
    uid, ae_title = target(request)
    _no_parameters(request)
    worklist = gateway.archive.worklist
    if uid in {GLOBAL, FILTERED}:
        await gateway.in_thread(worklist.unsubscribe_all, ae_title, who(request), filtered=uid == FILTERED)
    else:
        await run(gateway, Transaction.RETRIEVE, worklist.unsubscribe, uid, ae_title, who(request))
    return Response(status_code=200)


async def suspend(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /workitems/{workitem}/subscribers/{aetitle}/suspend``, which is of all work items alone."""
    uid, ae_title = target(request)
    _no_parameters(request)
    if uid not in {GLOBAL, FILTERED}:
        raise InvalidInputError(f"a subscription to all work items is suspended: {GLOBAL} or {FILTERED}")
    await gateway.in_thread(gateway.archive.worklist.suspend, ae_title, who(request), filtered=uid == FILTERED)
    return Response(status_code=200)


def target(request: Request) -> tuple[str, str]:
    """Return the UID and the AE title that a path names; raises ``InvalidInputError``."""
    uid, ae_title = str(request.path_params["workitem"]), ae_title_of(request.path_params["aetitle"])
    if not is_uid(uid):
        raise InvalidInputError(f"{uid[:80]!r} is no UID")
    return uid, ae_title


def ae_title_of(text: str) -> str:
    """Return the AE title in a path, without blanks around it; raises ``InvalidInputError``."""
    if not is_ae_title(text):
        raise InvalidInputError(f"{text[:32]!r} is no AE title")
    return text.strip()


def _parameters(request: Request, *, filtered: bool) -> tuple[bool, tuple[Criterion, ...] | None]:
    lock, filters = "false", []
    for name, value in request.query_params.multi_items():
        if name == "deletionlock" and value in {"true", "false"}:
            lock = value
        elif name == "filter" and filtered:
            filters.append(value)
        elif name not in COMMON:
            raise InvalidQueryError(f"{name[:64]}={value[:64]!r} is no parameter of this subscription", attribute=name)
    if not filtered:
        return lock == "true", None
    pairs = [each.partition("=") for text in filters for each in _BETWEEN.split(text)]
    asked = parse_request([(name.strip(), value) for name, _, value in pairs], 1)
    if not asked.criteria:
        raise InvalidQueryError("filter is needed: attribute=value, several with commas between", attribute="filter")
    return lock == "true", asked.criteria


def _no_parameters(request: Request) -> None:
    for name in request.query_params:
        if name not in COMMON:
            raise InvalidQueryError(f"there is no parameter {name[:64]!r} here", attribute=name)
