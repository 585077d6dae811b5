"""Retrieve Capabilities (PS3.18 8.9, Annex H): what the service does, as WADL or as JSON.

Made of the table of routes by which the service answers, and of what the
handlers offer, so that it cannot name what is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.dictionary import keyword_of
from vna.domain.levels import VR_OF, visible_at
from vna.domain.query import Level
from vna.gateways.dicomweb import bulkdata, frames, metadata, qido, rendered, ups, wado, wado_uri
from vna.gateways.dicomweb.conditional import Handler
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.links import BASE
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.search_request import PARAMETERS
from vna.search.matching import describe
from vna.workitems.memory import USUAL

Row = tuple[str, str, str, Handler]
"""Method, path, name and handler, as in the table of routes."""

WADL = Offer("application/vnd.sun.wadl+xml", related=False)
JSON = Offer("application/json", related=False)
_NAMESPACE = "http://wadl.dev.java.net/2009/02"

_LEVELS = {"search-studies": Level.STUDY, "search-series": Level.SERIES, "search-instances": Level.INSTANCE}
_OFFERS: Mapping[str, Sequence[Offer]] = {
    **dict.fromkeys(_LEVELS, qido.OFFERS),
    "retrieve-study": wado.OFFERS,
    "retrieve-series": wado.OFFERS,
    "retrieve-instance": wado.INSTANCE_OFFERS,
    "retrieve-metadata": metadata.OFFERS,
    "retrieve-frames": frames.OFFERS,
    "retrieve-bulkdata": bulkdata.OFFERS,
    "retrieve-pixeldata": bulkdata.OFFERS,
    "retrieve-rendered": rendered.OFFERS,
    "retrieve-thumbnail": rendered.THUMBNAIL_OFFERS,
    "search-workitems": ups.OFFERS,
    "retrieve-workitem": ups.OFFERS,
}
"""Media types of the resources whose handlers list them, by name; of the others none are told."""
# Attributes of the instance alone that PS3.18 Table 10.6.1-5 names; every other one is matched, too.
_INSTANCE_KEYS = ("00080016", "00080018", "00200013")

_QUERY: Mapping[str, Sequence[str]] = {
    "create-workitem": ("workitem",),
    "update-workitem": ("transaction-uid",),
    "search-workitems": (*PARAMETERS, *map(describe, USUAL)),
    "subscribe": ("deletionlock", "filter"),
    "retrieve-rendered": rendered.PARAMETERS,
    "retrieve-thumbnail": ("viewport",),
    "wado-uri": wado_uri.PARAMETERS,
    "request-deletion": ("reason",),
}
"""Query parameters of resources that have any but those below; of work items every attribute is matched."""
_NEGOTIATION = ("accept", "charset")


@dataclass(slots=True)
class _Resource:
    """A resource with its methods and what lies below it, by the last part of its path."""

    methods: list[tuple[str, str]] = field(default_factory=list)
    below: dict[str, _Resource] = field(default_factory=dict)


def paths(routes: Sequence[Row]) -> list[str]:
    """Return the paths of the DICOMweb resources, the service itself first."""
    return list(dict.fromkeys([BASE, f"{BASE}/", *(path for _, path, _, _ in routes if path.startswith(f"{BASE}/"))]))


def capabilities(routes: Sequence[Row], path: str) -> Handler:
    """Return a handler of OPTIONS for a path, which tells of the resource and of all below it."""
    root = _tree(routes)
    parts = path.removeprefix(BASE).strip("/").split("/") if path.removeprefix(BASE).strip("/") else []
    target = root
    for part in parts:
        target = target.below[part]
    methods = {method for method, _ in target.methods}
    allowed = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

    async def answer(gateway: Gateway, request: Request) -> Response:
        choice = negotiate(gateway.accept(request), (WADL, JSON))
        tree = _application(gateway.links(request).root, "/".join(parts), target)
        if choice.offer == JSON:
            body = orjson.dumps(tree)
        else:
            body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(_xml("application", tree["application"]))
        return Response(body, headers={"Allow": allowed}, media_type=choice.offer.content)

    return answer


def _tree(routes: Sequence[Row]) -> _Resource:
    root = _Resource()
    for method, path, name, _ in routes:
        if not path.startswith(f"{BASE}/"):
            continue
        place = root
        for part in path.removeprefix(f"{BASE}/").split("/"):
            place = place.below.setdefault(part, _Resource())
        place.methods.append((method, name))
    return root


def _application(base: str, path: str, target: _Resource) -> dict[str, Any]:
    """Return the document: keys are elements where they hold lists or dicts, and attributes where they hold texts."""
    described = [_described(path, target)] if path else [_described(*each) for each in target.below.items()]
    return {"application": {"xmlns": _NAMESPACE, "resources": {"base": base, "resource": described}}}


def _described(path: str, resource: _Resource) -> dict[str, Any]:
    described: dict[str, Any] = {"path": path}
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    if names:
        described["param"] = [{"name": name, "style": "template", "required": "true"} for name in names]
    if resource.methods:
        described["method"] = [_method(method, name) for method, name in resource.methods]
    if resource.below:
        described["resource"] = [_described(*each) for each in resource.below.items()]
    return described


def _method(method: str, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {"name": method, "id": name}
    offers = _OFFERS.get(name, ())
    negotiated = _NEGOTIATION if name.startswith(("retrieve-", "search-")) else ()
    query = [{"name": key, "style": "query"} for key in dict.fromkeys((*negotiated, *_query(name)))]
    if query and not offers:
        described["request"] = {"param": query}
    if offers:
        accept = {"name": "Accept", "style": "header", "option": [{"value": str(offer)} for offer in offers]}
        described["request"] = {"param": [accept, *query]}
        represented = [{"mediaType": str(offer)} for offer in offers]
        described["response"] = [{"status": "200", "representation": represented}]
    if name in _LEVELS or name == "search-workitems":
        described["response"].append({"status": "204"})
    return described


def _query(name: str) -> Iterator[str]:
    level = _LEVELS.get(name)
    if level is None:
        yield from _QUERY.get(name, ())
        return
    yield from PARAMETERS
    tags = [tag for tag, vr in VR_OF.items() if vr != "SQ" and visible_at(tag, level)]
    if level is Level.SERIES or level is Level.INSTANCE:
        tags += ["00400275.00400009", "00400275.00401001"]
    if level is Level.INSTANCE:
        tags += _INSTANCE_KEYS
    for path in tags:
        yield ".".join(keyword_of(int(tag, 16)) for tag in path.split("."))


def _xml(name: str, content: Mapping[str, Any]) -> ET.Element:
    element = ET.Element(name, {key: value for key, value in content.items() if isinstance(value, str)})
    for key, value in content.items():
        if isinstance(value, Mapping):
            element.append(_xml(key, value))
        elif isinstance(value, list):
            element.extend(_xml(key, each) for each in value)
    return element
