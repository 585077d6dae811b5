"""What failures of the service mean to the archive."""

from __future__ import annotations

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError, ConnectionTimeout, SerializationError, UnsupportedProductError
from elasticsearch import ConnectionError as NoConnectionError

from vna.config import IndexSettings
from vna.domain.errors import ArchiveError, ConfigurationError, ConflictError, InvalidQueryError, UnavailableError
from vna.index.elastic import ElasticIndex
from vna.index.elastic_errors import MissingIndexError, vendor_errors


def meta(status: int) -> ApiResponseMeta:
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "localhost", 9200))


def api_error(status: int, kind: str = "some_exception") -> ApiError:
    return ApiError(kind, meta(status), {"error": {"type": kind}})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (api_error(400), InvalidQueryError),
        (api_error(409), ConflictError),
        *((api_error(status), UnavailableError) for status in (401, 403, 404, 408, 429, 500, 502, 503, 504)),
        (api_error(404, "index_not_found_exception"), MissingIndexError),
        (api_error(404, "search_context_missing_exception"), MissingIndexError),
        (UnsupportedProductError("not Elasticsearch", meta(200), None), UnavailableError),
        (NoConnectionError("refused"), UnavailableError),
        (ConnectionTimeout("slow"), UnavailableError),
        (SerializationError("no JSON"), UnavailableError),
    ],
)
def test_each_failure_has_its_meaning(error: Exception, expected: type[ArchiveError]) -> None:
    with pytest.raises(expected) as raised, vendor_errors("test"):
        raise error
    assert type(raised.value) is expected
    assert raised.value.retry is (expected in (UnavailableError, MissingIndexError))


def test_nothing_connects_before_the_first_call() -> None:
    ElasticIndex(IndexSettings(kind="elasticsearch", hosts=("http://127.0.0.1:1",))).close()


def test_a_host_that_is_no_url_is_named() -> None:
    index = ElasticIndex(IndexSettings(kind="elasticsearch", hosts=("somewhere",)))
    with pytest.raises(ConfigurationError, match="VNA_INDEX__HOSTS"):
        index.check()


def test_a_service_that_is_not_there_is_unavailable() -> None:
    index = ElasticIndex(IndexSettings(kind="elasticsearch", hosts=("http://127.0.0.1:1",), timeout_seconds=1))
    with pytest.raises(UnavailableError):
        index.check()
