"""The page of the built-in viewer. What it shows it fetches itself by DICOMweb."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vna.config import Settings
from vna.web import ohif
from vna.web.pages_http import page, problem

PATH = "/ui/viewer"


def routes(settings: Settings) -> list[Route]:
    """Return the route of the viewer."""

    async def viewer(request: Request) -> Response:
        study = request.query_params.get("study", "")
        if not study:
            return problem(request, 400, "No study is named", f"Open a study from its page: {PATH}?study=UID")
        return page(request, "viewer.html", study=study, ohif=ohif.installed(settings.ohif_path))

    return [Route(PATH, viewer, methods=["GET"], name="page-viewer")]
