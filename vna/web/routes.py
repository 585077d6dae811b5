"""The pages' URLs. The built-in viewer and OHIF have a list of their own."""

from __future__ import annotations

from starlette.routing import Route

from vna.web import pages_audit, pages_operations, pages_search, pages_study
from vna.web.pages_http import Handler, Site, page_route, static

_INSTANCES = "/ui/instances/{study}/{series}"
_ENTRY = "/ui/operations/quarantine/{entry}"

PAGES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/ui", "page-home", pages_search.home),
    ("GET", "/ui/", "page-search", pages_search.search),
    ("GET", "/ui/facets", "page-facets", pages_search.search_facets),
    ("GET", "/ui/patients", "page-patient", pages_study.patient),
    ("GET", "/ui/studies/{study}", "page-study", pages_study.study),
    ("GET", _INSTANCES, "page-instance", pages_study.instance),
    ("GET", _INSTANCES + "/{instance}", "page-instance", pages_study.instance),
    ("GET", "/ui/operations", "page-operations", pages_operations.operations),
    ("GET", "/ui/operations/state", "page-operations-state", pages_operations.operations_state),
    ("GET", "/ui/operations/quarantine", "page-quarantine", pages_operations.operations_quarantine),
    ("GET", "/ui/audit", "page-audit", pages_audit.audit),
    ("GET", "/ui/audit/messages", "page-audit-messages", pages_audit.messages),
    ("GET", "/ui/audit/events/{position}", "page-audit-event", pages_audit.event),
    ("POST", _ENTRY + "/retry", "page-quarantine-retry", pages_operations.retry),
    ("POST", _ENTRY + "/drop", "page-quarantine-drop", pages_operations.drop),
)
"""Method, path, name (in the metrics) and handler of every page."""


def routes(site: Site) -> list[Route]:
    """Return the routes of the pages."""
    made = [page_route(site, *each) for each in PAGES]
    return [*made, Route("/ui/static/{name}", static, methods=["GET"], name="page-static")]
