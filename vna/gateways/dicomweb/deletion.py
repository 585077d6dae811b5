"""DELETE of a study, series or instance: a request, that the archive writes down and does not carry out by itself.

No transaction of PS3.18: archives that have one destroy at once. This one
answers 202 (RFC 9110 15.3.3), and what was named stays.
"""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.lifecycle.deletion import LONGEST_REASON, DeletionRequest, Deletions
from vna.retrieve.select import select
from vna.security.principals import Principal


async def request_deletion(gateway: Gateway, request: Request) -> Response:
    """Answer ``DELETE`` of a study, a series or an instance; the parameter ``reason`` says why."""
    unknown = sorted(set(request.query_params) - {"reason"})
    reason = request.query_params.get("reason", "")
    if unknown or len(reason) > LONGEST_REASON:
        detail = f"parameters are reason, of at most {LONGEST_REASON} characters, and no other"
        raise HttpError(400, "invalid-query", detail)
    path = request.path_params
    uids = (path["study"], path.get("series", ""), path.get("instance", ""))
    noted = await gateway.in_thread(_request, gateway, request, uids, reason)
    body = {"request": noted.id, "state": noted.state, "instances": noted.instances, "requested": noted.steps[-1].when}
    return Response(orjson.dumps(body), 202, media_type="application/json")


def _request(gateway: Gateway, request: Request, uids: tuple[str, str, str], reason: str) -> DeletionRequest:
    study, series, instance = uids
    found = select(gateway.view(request).index, study, series or None, instance or None)
    principal: Principal = request.state.principal
    deletions = Deletions(gateway.archive.objects)
    return deletions.request(uids, len(found), principal.name, reason, principal.limits.texts)
