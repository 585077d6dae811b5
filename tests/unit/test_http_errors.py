from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vna.domain import errors
from vna.gateways.dicomweb.errors import archive_error, framework_error

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
STATUS = {
    errors.ArchiveError: 500,
    errors.ConfigurationError: 500,
    errors.InvalidInputError: 400,
    errors.UnparsableError: 400,
    errors.InvalidQueryError: 400,
    errors.TooLargeError: 413,
    errors.NotFoundError: 404,
    errors.WithheldError: 403,
    errors.ConflictError: 409,
    errors.UnsupportedError: 406,
    errors.IntegrityError: 500,
    errors.NewerVersionError: 500,
    errors.OutOfResourcesError: 503,
    errors.UnavailableError: 503,
}


def every(kind: type[errors.ArchiveError]) -> set[type[errors.ArchiveError]]:
    return {kind}.union(*(every(each) for each in kind.__subclasses__() if each.__module__ == errors.__name__))


def test_every_error_of_the_archive_has_a_status() -> None:
    assert every(errors.ArchiveError) == set(STATUS)


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_the_answer_has_one_shape(kind: type[errors.ArchiveError]) -> None:
    answer = archive_error(REQUEST, kind("the reason"))
    assert answer.status_code == STATUS[kind]
    data = json.loads(bytes(answer.body))
    assert set(data) == {"error", "detail"}
    assert data["detail"] == "the reason"
    assert ("retry-after" in answer.headers) == kind.retry


@pytest.mark.parametrize(
    ("path", "accept", "shown_as"),
    [("/ui/nowhere", b"text/html,*/*;q=0.8", "text/html"), ("/dicom-web/nowhere", b"text/html", "application/json")],
)
def test_a_page_that_is_not_there_is_told_as_a_page(path: str, accept: bytes, shown_as: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"accept", accept)], "query_string": b""}
    answer = framework_error(Request(scope), HTTPException(404))
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith(shown_as)
