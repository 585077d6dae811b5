"""``/ui/patients``, ``/ui/studies/...`` and ``/ui/instances/...``: from a person to a single attribute."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from vna.domain import quantities
from vna.domain.errors import NotFoundError
from vna.domain.query import AnyOf, Hit, Level, Query
from vna.ingest.document import Metadata
from vna.ports.index import IndexReader
from vna.ports.objects import ObjectReader
from vna.retrieve.metadata import load
from vna.web import view_text
from vna.web.pages_http import Site, guarded, page
from vna.web.view_attributes import table
from vna.web.view_patient import timeline
from vna.web.view_study import SERIES_UID, SOP_UID, STUDY_UID, Series, Study

MOST_SERIES = 500


@guarded
async def patient(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/patients?id=&issuer=``."""
    asked = request.query_params
    found = await site.in_thread(timeline, site.view(request).index, asked.get("id", ""), asked.get("issuer", ""))
    return page(request, "patient.html", found=found)


@guarded
async def study(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/studies/{study}``."""
    uid = request.path_params["study"]
    both = await site.in_thread(study_with_series, site.view(request).index, uid)
    if both is None:
        raise NotFoundError(f"the archive has no study {uid}")
    found, series = both
    return page(request, "study.html", study=found, series=series, most=MOST_SERIES)


def study_with_series(index: IndexReader, uid: str) -> tuple[Study, list[Series]] | None:
    """Return a study and its first series, ``None`` if the archive does not have it."""
    own = (AnyOf(STUDY_UID, (uid,)),)
    hits = index.query(Query(Level.STUDY, own, 1))
    if not hits:
        return None
    found = Study.of(hits[0])
    return found, [Series.of(hit, found) for hit in index.query(Query(Level.SERIES, own, MOST_SERIES))]


@dataclass(frozen=True, slots=True)
class _Instance:
    study: Study
    series: Series
    uid: str
    place: int | None
    hit: Hit
    metadata: Metadata


@guarded
async def instance(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/instances/{study}/{series}?n=`` and ``GET /ui/instances/{study}/{series}/{instance}``."""
    asked = request.query_params.get("n", "1")
    place = max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1
    path = request.path_params
    uids = (path["study"], path["series"], path.get("instance"))
    view = site.view(request)
    found = await site.in_thread(_instance, view.index, view.objects, uids, place)
    location = found.hit.location
    assert location is not None
    facts = {
        "SOP Instance UID": found.uid,
        "SOP Class": view_text.uid_name(location.sop_class),
        "Transfer syntax": view_text.uid_name(location.transfer_syntax),
    }
    if not view.deidentified:
        # Of the original: when it came, from where, and what it is.
        facts |= {
            "Received": view_text.moment(found.metadata.received_us),
            "From": view_text.sender(found.metadata.origin),
            "Size": quantities.size(location.size),
            "Digest": location.digest,
        }
    own = f"{found.study.dicomweb}/series/{view_text.segment(path['series'])}/instances/{view_text.segment(found.uid)}"
    return page(
        request,
        "instance.html",
        study=found.study,
        series=found.series,
        place=found.place,
        facts=facts,
        table=table(found.metadata),
        warnings=found.metadata.header.warnings,
        dicomweb=own,
    )


def _instance(index: IndexReader, objects: ObjectReader, uids: tuple[str, str, str | None], place: int) -> _Instance:
    study_uid, series_uid, sop = uids
    own = (AnyOf(STUDY_UID, (study_uid,)), AnyOf(SERIES_UID, (series_uid,)))
    studies = index.query(Query(Level.STUDY, own[:1], 1))
    series = index.query(Query(Level.SERIES, own, 1))
    if sop is None:
        hits = index.query(Query(Level.INSTANCE, own, 1, place - 1))
    else:
        hits = index.query(Query(Level.INSTANCE, (*own, AnyOf(SOP_UID, (sop,))), 1))
    if not (studies and series and hits):
        what = f"instance {sop} in" if sop is not None else f"instance number {place} in"
        raise NotFoundError(f"the archive has no {what} series {series_uid} of study {study_uid}")
    location = hits[0].location
    assert location is not None
    found = Study.of(studies[0])
    return _Instance(
        found,
        Series.of(series[0], found),
        location.uids.sop,
        place if sop is None else None,
        hits[0],
        load(objects, location),
    )
