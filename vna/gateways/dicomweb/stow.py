"""STOW-RS, the store transaction (PS3.18 10.5)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from vna.domain.errors import OutOfResourcesError
from vna.domain.origin import Origin
from vna.domain.records import Attributes
from vna.gateways.dicomweb.audited import ANONYMOUS, refused_parts, user_of
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.stow_body import body_for
from vna.gateways.dicomweb.stow_outcome import OUT_OF_RESOURCES, Outcome
from vna.gateways.dicomweb.upload import Body, Target

_log = logging.getLogger(__name__)

OFFERS = (
    Offer("application/dicom+json", related=False),
    Offer("application/json", related=False),
    Offer("application/dicom+xml", related=False),
)

# Pieces of the body go to the thread when they have this many bytes: a change of thread for each would cost more.
_PIECE = 1 << 20
# What is read of a body after it was refused: a client that is still sending would not see the answer.
_DRAIN_BYTES = 64 << 20
_DRAIN_SECONDS = 5.0


async def store(gateway: Gateway, request: Request) -> Response:
    """Answer ``POST /studies`` and ``POST /studies/{study}``."""
    study = request.path_params.get("study")
    begin = time.monotonic()
    stream = request.stream()
    try:
        choice = negotiate(gateway.accept(request), OFFERS)
        _check_encoding(request)
        target = Target(
            gateway.archive.receiver,
            gateway.committers,
            Origin("stow", _sender(request), address=request.client.host if request.client else ""),
            gateway.settings,
            study,
        )
        body = body_for(request.headers.get("content-type", ""), target)
        outcomes = await _receive(gateway, stream, body)
        await _tell(gateway, request, outcomes)
        status = status_of(outcomes)
    except ClientDisconnect:
        raise
    except Exception:
        await _drain(stream)
        raise
    gateway.metrics.stored(outcomes)
    refused = sum(1 for outcome in outcomes if outcome.reason)
    client = request.client.host if request.client else "?"
    seconds = time.monotonic() - begin
    _log.info("%s STOW-RS: %d stored, %d refused in %.1f s", client, len(outcomes) - refused, refused, seconds)
    data = answer(outcomes, gateway.links(request), study)
    headers = {"Warning": said} if (said := warnings_of(outcomes)) else {}
    if choice.offer.content.endswith("xml"):
        return Response(to_native_xml(data), status, headers, media_type=choice.offer.content)
    return Response(orjson.dumps(data), status, headers, media_type=choice.offer.content)


async def _tell(gateway: Gateway, request: Request, outcomes: list[Outcome]) -> None:
    """Tell the audit trail of what is refused; what is stored is told when it is committed."""
    refused = [
        (each.head.study if each.head else "", each.sop_class, each.detail or f"{each.reason:04X}")
        for each in outcomes
        if each.reason
    ]
    if refused and gateway.archive.settings.audit.enabled:
        await gateway.in_thread(refused_parts, gateway.archive, request.scope, refused, len(outcomes))


def _sender(request: Request) -> str:
    """Return who sends, empty for somebody without credentials."""
    user = user_of(request.scope)
    return "" if user == ANONYMOUS else user


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        detail = f"Content-Encoding {encoding[:64]} is not supported; send the body as it is"
        raise HttpError(415, "unsupported-media-type", detail)


async def _receive(gateway: Gateway, stream: AsyncIterator[bytes], body: Body) -> list[Outcome]:
    """Pass the body on to a thread; while that writes a piece, the next one arrives."""
    waiting: list[bytes] = []
    size = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in stream:
            waiting.append(chunk)
            size += len(chunk)
            if size < _PIECE:
                continue
            if writing is not None:
                await writing
            writing = asyncio.create_task(gateway.in_thread(body.feed, b"".join(waiting)))
            waiting, size = [], 0
        if writing is not None:
            await writing
            writing = None
        return await gateway.in_thread(_finish, body, b"".join(waiting))
    except BaseException:
        if writing is not None:
            # What went wrong first is raised; what this piece came to is no longer of interest.
            await asyncio.gather(writing, return_exceptions=True)
        await asyncio.shield(gateway.in_thread(body.abandon))
        raise


def _finish(body: Body, rest: bytes) -> list[Outcome]:
    if rest:
        body.feed(rest)
    return body.finish()


async def _drain(stream: AsyncIterator[bytes]) -> None:
    size = 0
    until = time.monotonic() + _DRAIN_SECONDS
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in stream:
                size += len(chunk)
                if size > _DRAIN_BYTES or time.monotonic() > until:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return


def status_of(outcomes: list[Outcome]) -> int:
    """Return the status of the answer (PS3.18 10.5.3): 200 all stored, 202 some or with warnings, 409 none.

    Raises ``OutOfResourcesError`` if none is stored for want of space: the sender may try again.
    """
    failed = [outcome for outcome in outcomes if outcome.reason]
    if not failed:
        return 202 if any(outcome.warning for outcome in outcomes) else 200
    if len(failed) < len(outcomes):
        return 202
    for outcome in failed:
        if outcome.reason == OUT_OF_RESOURCES:
            raise OutOfResourcesError(outcome.detail)
    return 409


def answer(outcomes: list[Outcome], links: Links, study: str | None) -> Attributes:
    """Return the Store Instances Response Module (PS3.18 I.2) in the DICOM JSON model."""
    stored = [outcome for outcome in outcomes if not outcome.reason]
    failed = [outcome for outcome in outcomes if outcome.reason and outcome.sop_instance]
    unknown = [outcome for outcome in outcomes if outcome.reason and not outcome.sop_instance]
    result: Attributes = {}
    studies = {outcome.head.study for outcome in stored if outcome.head}
    if study is not None and stored:
        studies.add(study)
    if len(studies) == 1:
        result["00081190"] = {"vr": "UR", "Value": [links.study(studies.pop())]}
    if failed:
        result["00081198"] = {"vr": "SQ", "Value": [_reference(each) | _reason(each) for each in failed]}
    if stored:
        references = [_reference(each) | _retrieve(each, links) | _warning(each) for each in stored]
        result["00081199"] = {"vr": "SQ", "Value": references}
    if unknown:
        result["0008119A"] = {"vr": "SQ", "Value": [_reason(each) for each in unknown]}
    return result


def _reference(outcome: Outcome) -> Attributes:
    return {
        "00081150": {"vr": "UI", "Value": [outcome.sop_class]} if outcome.sop_class else {"vr": "UI"},
        "00081155": {"vr": "UI", "Value": [outcome.sop_instance]},
    }


def _warning(outcome: Outcome) -> Attributes:
    return {"00081196": {"vr": "US", "Value": [outcome.warning]}} if outcome.warning else {}


def _reason(outcome: Outcome) -> Attributes:
    return {"00081197": {"vr": "US", "Value": [outcome.reason]}}


def _retrieve(outcome: Outcome, links: Links) -> Attributes:
    head = outcome.head
    assert head is not None
    return {"00081190": {"vr": "UR", "Value": [links.instance(head.study, head.series, outcome.sop_instance)]}}


def warnings_of(outcomes: list[Outcome], most: int = 5) -> str:
    """Return the value of a Warning field (RFC 7234 5.5) that says for a person what is wrong with which part."""
    said = [f"{each.name or f'part {number}'}: {each.detail}" for number, each in enumerate(outcomes, 1) if each.detail]
    texts = said[:most]
    if len(said) > most:
        texts.append(f"and {len(said) - most} more")
    return ", ".join(f'299 vna "{_quotable(text)}"' for text in texts)


def _quotable(text: str) -> str:
    printable = "".join(each if 32 <= ord(each) < 127 else "?" for each in text[:300])
    return printable.replace("\\", "/").replace('"', "'")
