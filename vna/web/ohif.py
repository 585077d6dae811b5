"""OHIF, the viewer of the Open Health Imaging Foundation, served below ``/ohif/`` from where it was installed.

Its files are used as they are published, with three exceptions: addresses are
put below ``/ohif/`` (in scripts by the installation, in the page here), the
service worker, whose code would come from another host, is left out, and the
configuration is the archive's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from vna.config import Settings
from vna.web.pages_http import problem

BASE = "/ohif/"
INDEX = "index.html"
LEFT_OUT = frozenset({"init-service-worker.js", "sw.js", "google.js", "app-config.js", "_headers", "_redirects"})
"""Files of the package that are not installed: the archive has its own, or none."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
# Names with a mark of their content are the same for ever.
_FOREVER = re.compile(r"(?:[\w-]+\.)*[0-9a-f]{16}\.(?:js|wasm|woff2)")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_OTHER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    # Its decoders are WebAssembly; its components write style attributes; its workers and pictures are blobs.
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{inline}; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:;"
    " media-src 'self' blob:; object-src 'self' blob:; frame-src 'self' blob:; manifest-src 'self';"
    " base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "archive",
    "configuration": {
        "friendlyName": "This archive",
        "name": "archive",
        "qidoSupportsIncludeField": True,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": True,
        "supportsWildcard": True,
        "singlepart": "bulkdata,video,pdf",
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
    },
}
_CONFIG = {
    "name": "archive",
    "routerBasename": BASE.rstrip("/"),
    "extensions": [],
    "modes": [],
    # No tour for everybody's first look: it lies over the picture.
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": True,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "investigationalUseDialog": {"option": "never"},
    "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
    "defaultDataSourceName": "archive",
    "dataSources": [_SOURCE],
}
# OHIF counts the values of Modalities in Study where there are none, as PS3.18 F.2.5 writes what is empty; its list
# of studies is then a message of failure, for the sake of one study.
_EMPTY_MODALITIES = """
const answered = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, "response");
Object.defineProperty(XMLHttpRequest.prototype, "response", {
  ...answered,
  get() {
    const answer = answered.get.call(this);
    if (this.responseType === "json" && Array.isArray(answer)) {
      for (const study of answer) {
        if (study?.["00080061"]) study["00080061"].Value ??= [];
      }
    }
    return answer;
  },
});
"""


def installed(folder: Path) -> bool:
    """Say whether OHIF is installed in a folder."""
    return (folder / INDEX).is_file()


def configuration() -> str:
    """Return the script that points OHIF at the archive that served it, and at nothing else."""
    return (
        f"window.config = {json.dumps(_CONFIG, indent=2)};\n"
        'const root = window.location.origin + "/dicom-web";\n'
        "for (const source of window.config.dataSources) {\n"
        "  Object.assign(source.configuration, { wadoUriRoot: root, qidoRoot: root, wadoRoot: root });\n"
        "}\n"
        f"{_EMPTY_MODALITIES}"
    )


def index_page(published: str) -> tuple[str, str]:
    """Return the page as it is served below :data:`BASE`, and its content security policy."""
    text = re.sub(r'<script[^>]*src="/init-service-worker\.js"[^>]*></script>', "", published)
    text = re.sub(r'((?:href|src|content)=")/(?!/)', rf"\g<1>{BASE}", text)
    text = text.replace('window.PUBLIC_URL="/"', f'window.PUBLIC_URL="{BASE}"')
    # Further scripts are asked for by names without a folder, from pages that lie in one.
    text = text.replace("<head>", f'<head><base href="{BASE}">', 1)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in _INLINE.findall(text)]
    inline = "".join(f" 'sha256-{digest}'" for digest in dict.fromkeys(digests))
    return text, _POLICY.format(inline=inline)


@lru_cache(4)
def _index(path: Path, _changed: int) -> tuple[str, str]:
    return index_page(path.read_text("utf-8"))


def routes(settings: Settings) -> list[Route]:
    """Return the routes of OHIF, whether it is installed or not: it may be while the gateway runs."""
    folder = settings.ohif_path

    async def enter(_request: Request) -> Response:
        return RedirectResponse(BASE, 308)

    async def config(_request: Request) -> Response:
        headers = _OTHER_HEADERS | {"Cache-Control": "no-cache"}
        return Response(configuration(), headers=headers, media_type="text/javascript")

    async def serve(request: Request) -> Response:
        return await run_in_threadpool(_answer, folder, request)

    return [
        Route(BASE.rstrip("/"), enter, methods=["GET"], name="ohif"),
        Route(BASE + "app-config.js", config, methods=["GET"], name="ohif-config"),
        Route(BASE + "{path:path}", serve, methods=["GET"], name="ohif-file"),
    ]


def _answer(folder: Path, request: Request) -> Response:
    if not installed(folder):
        detail = "Install it with the command: vna ohif install. The built-in viewer works without it."
        return problem(request, 404, "OHIF is not installed", detail)
    name = request.path_params["path"]
    if (found := _file(folder, name)) is not None:
        return _send(request, found, name)
    if "." in name.rsplit("/", 1)[-1]:
        return Response("not found", 404, media_type="text/plain", headers=_OTHER_HEADERS)
    # Any other address is one that OHIF's own router knows.
    page = folder / INDEX
    text, policy = _index(page, page.stat().st_mtime_ns)
    headers = _OTHER_HEADERS | {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return Response(text, headers=headers, media_type="text/html")


def _file(folder: Path, name: str) -> Path | None:
    """Return a published file, never one outside of the folder, and not the page, which is served changed."""
    parts = name.split("/")
    if name == INDEX or "\\" in name or "\0" in name or any(part in {"", ".", ".."} for part in parts):
        return None
    path = folder.joinpath(*parts)
    return path if path.suffix in _TYPES and path.is_file() else None


def _send(request: Request, path: Path, name: str) -> Response:
    headers = _OTHER_HEADERS | {
        # A worker has the policy of its own script, not the page's. The decoders, which run in one, make
        # functions of strings (Emscripten's embind); a worker reaches neither the page nor another host.
        "Content-Security-Policy": _POLICY.format(inline=" 'unsafe-eval'" if path.suffix == ".js" else ""),
        "Cache-Control": "public, max-age=31536000, immutable" if _FOREVER.fullmatch(name) else "no-cache",
        "Vary": "Accept-Encoding",
    }
    small = path.with_name(path.name + ".gz")
    sent = path
    if "gzip" in request.headers.get("accept-encoding", "") and small.is_file():
        sent, headers["Content-Encoding"] = small, "gzip"
    status = sent.stat()
    headers["ETag"] = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(sent, headers=headers, media_type=_TYPES[path.suffix], stat_result=status)
