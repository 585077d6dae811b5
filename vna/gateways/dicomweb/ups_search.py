"""UPS-RS: search (PS3.18 11.9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vna.domain.errors import InvalidQueryError
from vna.domain.query import Level
from vna.domain.records import Attributes
from vna.gateways.dicomweb.attributes import parts_of, vr_of
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.search_request import SearchRequest, parse_search
from vna.gateways.dicomweb.ups import OFFERS, represent
from vna.gateways.dicomweb.ups_answers import warning
from vna.workitems import tags
from vna.workitems.matching import paths_of
from vna.workitems.worklist import Worklist

RETURNED = frozenset(
    {
        *("00080016", "00080018", "00081080", "00081084", "00100010", "00100020", "00100021", "00100024"),
        *("00100030", "00100040", "00101002", "0020000D", "00380010", "00380014", "00404005", "00404018"),
        *("00404021", "00404025", "00404026", "00404027", "00404034", "00404041", "0040A370", "00741000"),
        *("00741002", "00741200", "00741202", "00741204", "00741210"),
    }
)
"""Attributes of every result: those of Return Key Type 1 and 2 (PS3.4 Table CC.2.5-3)."""

_IF_THERE = frozenset(["00080005", "00102000", "001021C0", "00380050"])


async def search(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /workitems``."""
    choice = negotiate(gateway.accept(request), OFFERS)
    asked = parse_request(request.query_params.multi_items(), gateway.settings.max_results)
    return await gateway.in_thread(_answer, gateway.archive.worklist, asked, choice.offer)


def _answer(worklist: Worklist, asked: SearchRequest, offer: Offer) -> Response:
    found, total = worklist.search(asked.criteria, asked.offset, asked.limit)
    remaining = max(0, total - asked.offset - asked.limit)
    texts = list(asked.warnings)
    if remaining and found:
        texts.append(f"There are {remaining} additional results that can be requested")
    if not found:
        return Response(status_code=204, headers=warning(*texts))
    answer = represent([_result(each, asked) for each in found], offer)
    answer.status_code = 206 if remaining else 200
    answer.headers.update(warning(*texts))
    return answer


def parse_request(parameters: list[tuple[str, str]], max_results: int) -> SearchRequest:
    """Read the parameters of a search, or of a filter; raises ``InvalidQueryError``."""
    asked = parse_search(Level.INSTANCE, parameters, {}, max_results)
    if any(path.endswith(tags.TRANSACTION) for path in paths_of(asked.criteria)):
        raise InvalidQueryError("TransactionUID cannot be matched (PS3.4 Table CC.2.5-3)", attribute=tags.TRANSACTION)
    return asked


def _result(known: Attributes, asked: SearchRequest) -> Attributes:
    tops = {parts_of(path)[0] for path in asked.include}
    result = dict(known) if asked.include_all else {}
    for tag in (*RETURNED, *_IF_THERE, *(top for top in tops if "@" not in top)):
        if tag in known:
            result[tag] = known[tag]
        elif tag not in _IF_THERE and tag != tags.TRANSACTION:
            result[tag] = {"vr": vr_of(tag)}
    for path in tops:
        if "@" in path:
            result |= dict(_private(known, path))
    return dict(sorted(result.items()))


def _private(known: Attributes, path: str) -> Iterator[tuple[str, Any]]:
    """Yield a private attribute, and the element that names its creator."""
    name, _, creator = path.partition("@")
    for tag, field in known.items():
        own = f"{name[:4]}{tag[6:]}{name[6:]}"
        if tag.startswith(f"{name[:4]}00") and tags.text({tag: field}, tag) == creator and own in known:
            yield tag, field
            yield own, known[own]
