"""What a link to a study opens: the study and nothing else, or its pictures and nothing that names the patient."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from vna.gateways.dicomweb.links import BASE
from vna.security.principals import Scope

_PAGE = "/ui/shared"
_PICTURES = ("/rendered", "/thumbnail")
# Named in the query, for by the Accept field an encapsulated document could be had, which names its patient.
_PICTURE_TYPES = frozenset({"image/jpeg", "image/png"})


def within(scope: Scope, path: str, query: QueryParams) -> bool:
    """Say whether a scope has a resource, by its path and query."""
    if path == _PAGE or path.startswith(f"{_PAGE}/"):
        return True
    study = f"{BASE}/studies/{scope.study}"
    if scope.pictures_only:
        picture = path.startswith(f"{study}/") and path.endswith(_PICTURES)
        return picture and query.getlist("accept") in ([kind] for kind in _PICTURE_TYPES) and "annotation" not in query
    if path == "/ui/viewer":
        return query.getlist("study") == [scope.study]
    return path == study or path.startswith(f"{study}/")
