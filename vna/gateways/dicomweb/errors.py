"""Every answer that is no success has one shape: ``{"error": <what>, "detail": <a sentence for a person>}``.

The only place that maps the archive's errors to HTTP statuses (PS3.18 8.5).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from vna.domain import errors
from vna.web.pages_http import problem

RETRY_AFTER_SECONDS = 10

# The first that fits counts, so the special stands before the general.
_STATUS: tuple[tuple[type[errors.ArchiveError], int, str], ...] = (
    (errors.InvalidQueryError, 400, "invalid-query"),
    (errors.TooLargeError, 413, "too-large"),
    (errors.UnparsableError, 400, "unparsable"),
    (errors.InvalidInputError, 400, "invalid-input"),
    (errors.NotFoundError, 404, "not-found"),
    (errors.WithheldError, 403, "withheld"),
    (errors.ConflictError, 409, "conflict"),
    # Raised where a representation cannot be made: no decoder, or none that can decode this.
    (errors.UnsupportedError, 406, "not-acceptable"),
    (errors.IntegrityError, 500, "integrity"),
    (errors.OutOfResourcesError, 503, "out-of-resources"),
    (errors.UnavailableError, 503, "unavailable"),
    (errors.ArchiveError, 500, "internal"),
)

_log = logging.getLogger(__name__)


class HttpError(Exception):
    """An answer that the gateway decides on by itself, such as 406 or 415.

    Parameters
    ----------
    status
        HTTP status.
    error
        Short name of what is wrong, lower case with dashes.
    detail
        A sentence for a person.
    headers
        Further header fields of the answer.
    """

    def __init__(self, status: int, error: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = dict(headers or {})


def error_response(status: int, error: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of the one shape."""
    body = orjson.dumps({"error": error, "detail": detail})
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


def archive_error(request: Request, error: Exception) -> Response:
    """Answer an error of the archive."""
    assert isinstance(error, errors.ArchiveError)
    # Who may ask, and asks for one that is withheld, is nobody that the audit trail must warn of.
    request.state.by_content = isinstance(error, errors.WithheldError)
    status, name = next((status, name) for kind, status, name in _STATUS if isinstance(error, kind))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.retry else {}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", name, error)
    return error_response(status, name, str(error), headers)


def http_error(_request: Request, error: Exception) -> Response:
    """Answer an error of the gateway."""
    assert isinstance(error, HttpError)
    return error_response(error.status, error.error, error.detail, error.headers)


def framework_error(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {request.url.path}: {error.detail}"
    if request.url.path.startswith("/ui") and "text/html" in request.headers.get("accept", ""):
        return problem(request, error.status_code, phrase, "There is no such page. Was its address typed?")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route that has the path; each method has its own here.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return error_response(error.status_code, phrase.lower().replace(" ", "-"), detail, headers)


def _methods(request: Request) -> set[str]:
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    return {
        method for each in routes if each.matches(request.scope)[0] is not Match.NONE for method in each.methods or ()
    }


def unexpected_error(_request: Request, _error: Exception) -> Response:
    """Answer what nobody foresaw. The reason is in the log (the framework raises it again), not in the answer."""
    return error_response(500, "internal", "the archive failed; its log says why")


def disconnected(request: Request, _error: Exception) -> Response:
    """Answer nobody: the client went away while it sent."""
    _log.info("%s %s: the client went away before its request was whole", request.method, request.url.path)
    return Response(status_code=400)


EXCEPTION_HANDLERS = {
    errors.ArchiveError: archive_error,
    HttpError: http_error,
    HTTPException: framework_error,
    ClientDisconnect: disconnected,
    Exception: unexpected_error,
}
"""What the application registers."""
