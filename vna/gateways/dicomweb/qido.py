"""QIDO-RS, the search transaction (PS3.18 10.6).

Nothing found answers 204 without content, as PS3.18 10.6.3.1 of the present
edition has it. Which attributes an answer holds is of Tables 10.6.3-3 to -5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.levels import VR_OF, visible_at
from vna.domain.query import Hit, Level
from vna.domain.records import Attributes
from vna.gateways.dicomweb.attributes import parts_of, vr_of
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.search_request import SearchRequest, parse_search
from vna.ports.index import IndexReader
from vna.search.gathered import with_gathered
from vna.search.studies import within_studies

OFFERS = (
    Offer("application/dicom+json", related=False),
    Offer("application/json", related=False),
    Offer("application/dicom+xml", related=True),
)

_UNQUOTABLE = re.compile(r'[^\x20-\x7e]|["\\]')
_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"


def _tags(text: str) -> list[str]:
    return text.split()


# Table 10.6.3-3.
_STUDY = _tags(
    "00080020 00080030 00080050 00080061 00080090 00080201 00100010 00100020 00100021 00100030 00100040"
    " 0020000D 00200010 00201206 00201208"
)
# Table 10.6.3-4.
_SERIES = _tags("00080060 00080201 0008103E 0020000E 00200011 00201209 00400244 00400245 00400275")
# Table 10.6.3-5.
_INSTANCE = _tags("00080016 00080018 00080201 00200013 00280008 00280010 00280011 00280100")
# Of type 1 or 2 in their modules: returned empty where they have no value.
_EMPTY_TOO = frozenset(
    _tags("00080020 00080030 00080050 00080060 00080090 00100010 00100020 00100030 00100040")
    + _tags("00200010 00200011 00200013")
)
_VR = {tag: vr_of(tag) for tag in {*_STUDY, *_SERIES, *_INSTANCE}}
_COMMON: Attributes = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00080056": {"vr": "CS", "Value": ["ONLINE"]},
}


async def search_studies(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /studies``."""
    return await _search(gateway, request, Level.STUDY)


async def search_series(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /series`` and ``GET /studies/{study}/series``."""
    return await _search(gateway, request, Level.SERIES)


async def search_instances(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /instances``, and below a study or a series."""
    return await _search(gateway, request, Level.INSTANCE)


async def _search(gateway: Gateway, request: Request, level: Level) -> Response:
    choice = negotiate(gateway.accept(request), OFFERS)
    names = {"study": _STUDY_UID, "series": _SERIES_UID}
    fixed = {names[name]: str(uid) for name, uid in request.path_params.items()}
    asked = parse_search(level, request.query_params.multi_items(), fixed, gateway.settings.max_results)
    index = gateway.view(request).index
    return await gateway.in_thread(_answer, index, asked, gateway.links(request), choice.offer)


def _answer(index: IndexReader, asked: SearchRequest, links: Links, offer: Offer) -> Response:
    query = replace(asked.query(), criteria=within_studies(index, asked.level, asked.criteria))
    hits = index.query(query)
    warnings = list(asked.warnings)
    if len(hits) > asked.limit:
        remaining = max(1, index.count(query) - asked.offset - asked.limit)
        warnings.append(f"There are {remaining} additional results that can be requested")
        del hits[asked.limit :]
    # A path may be part of a warning, and hold whatever a client wrote.
    texts = [_UNQUOTABLE.sub("?", text) for text in warnings]
    headers = {"Warning": ", ".join(f'299 vna "{text}"' for text in texts)} if texts else {}
    if not hits:
        return Response(status_code=204, headers=headers)
    shape = Shape(asked, links)
    results = [shape.result(hit) for hit in with_gathered(index, asked.level, hits, shape.wanted)]
    if not offer.related:
        return Response(orjson.dumps(results), headers=headers, media_type=offer.content)
    boundary = new_boundary()
    parts = (({"Content-Type": offer.content}, (to_native_xml(result),)) for result in results)
    body = b"".join(write_related(parts, boundary))
    return Response(body, headers=headers, media_type=related_type(offer.content, boundary))


class Shape:
    """Which attributes the results of a search hold."""

    def __init__(self, asked: SearchRequest, links: Links) -> None:
        self._asked = asked
        self._links = links
        level = asked.level
        tags = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.INSTANCE: _INSTANCE}[level]
        wanted = {*tags, _STUDY_UID}
        if level is not Level.STUDY and _STUDY_UID not in asked.fixed:
            wanted |= {*_STUDY}
        if level is Level.INSTANCE:
            wanted |= {_SERIES_UID} if _SERIES_UID in asked.fixed else {*_SERIES}
        self._wanted = sorted(wanted)
        # What is asked for within a sequence comes with the whole sequence.
        tops = {parts_of(path)[0] for path in asked.include}
        self._extra = sorted(top for top in tops if "@" not in top and top not in wanted)
        self.wanted = frozenset({*self._wanted, *self._extra})
        self._private = sorted(top for top in tops if "@" in top)

    def result(self, hit: Hit) -> Attributes:
        """Return one result in the DICOM JSON model, tags in order."""
        known = hit.attributes
        result = dict(_COMMON)
        result["00081190"] = {"vr": "UR", "Value": [self._retrieve_url(known)]}
        if self._asked.include_all:
            result |= known
            result["00080005"] = _COMMON["00080005"]
        for tag in self._wanted:
            if (field := known.get(tag)) is not None:
                result[tag] = field
            elif tag in _EMPTY_TOO:
                result[tag] = {"vr": _VR[tag]}
        for tag in self._extra:
            if tag not in result and visible_at(tag, self._asked.level):
                result[tag] = known.get(tag) or {"vr": VR_OF.get(tag) or vr_of(tag)}
        for path in self._private:
            result |= dict(_private(known, path))
        return dict(sorted(result.items()))

    def _retrieve_url(self, known: Attributes) -> str:
        study = _uid(known, _STUDY_UID)
        if self._asked.level is Level.STUDY:
            return self._links.study(study)
        series = _uid(known, _SERIES_UID)
        if self._asked.level is Level.SERIES:
            return self._links.series(study, series)
        return self._links.instance(study, series, _uid(known, _SOP_UID))


def _uid(known: Attributes, tag: str) -> str:
    values = known.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _private(known: Attributes, path: str) -> Iterable[tuple[str, object]]:
    """Yield a private attribute and the element that names its creator, where a result has them."""
    name, _, creator = path.partition("@")
    group, element = name[:4], name[6:]
    for tag, field in known.items():
        if tag[:4] == group and tag[4:6] == "00" and field.get("Value") == [creator]:
            own = f"{group}{tag[6:]}{element}"
            if own in known:
                yield tag, field
                yield own, known[own]
