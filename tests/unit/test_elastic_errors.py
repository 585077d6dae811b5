"""What failures of the service mean to the archive."""

from __future__ import annotations

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError, ConnectionTimeout, SerializationError, UnsupportedProductError
from elasticsearch import ConnectionError as NoConnectionError

from vna.config import IndexSettings
from vna.domain.errors import ArchiveError, ConfigurationError, ConflictError, InvalidQueryError, UnavailableError
from vna.index.elastic import ElasticIndex
from vna.index.elastic_client import Result
from vna.index.elastic_errors import MissingIndexError, TooLargeForServiceError, query_errors, vendor_errors


def meta(status: int) -> ApiResponseMeta:
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "localhost", 9200))


def api_error(status: int, kind: str = "some_exception") -> ApiError:
    return ApiError(kind, meta(status), {"error": {"type": kind}})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (api_error(409), ConflictError),
        (api_error(413), TooLargeForServiceError),
        # A shard limit, a closed index, a mapping that cannot be made: no document is to blame.
        *((api_error(400, kind), UnavailableError) for kind in ("validation_exception", "illegal_argument_exception")),
        (api_error(400, "index_closed_exception"), UnavailableError),
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
    assert raised.value.retry is issubclass(expected, UnavailableError)


@pytest.mark.parametrize(
    "kind", ["search_phase_execution_exception", "parsing_exception", "illegal_argument_exception"]
)
def test_a_query_may_be_refused_for_what_it_is(kind: str) -> None:
    with pytest.raises(InvalidQueryError), query_errors("test"):
        raise api_error(400, kind)


@pytest.mark.parametrize("kind", ["index_closed_exception", "validation_exception", "cluster_block_exception"])
def test_a_query_is_not_to_blame_for_the_service(kind: str) -> None:
    with pytest.raises(UnavailableError), query_errors("test"):
        raise api_error(400, kind)


@pytest.mark.parametrize(
    ("status", "reason", "temporary"),
    [
        (201, "", False),
        (409, "version_conflict_engine_exception: other", False),
        (404, "", False),
        (413, "too large", False),
        (400, "document_parsing_exception: failed to parse", False),
        (400, "strict_dynamic_mapping_exception: not allowed", False),
        (400, "illegal_argument_exception: Document contains at least one immense term in field", False),
        (400, "illegal_argument_exception: Limit of total fields [1000] has been exceeded", True),
        (400, "index_closed_exception: closed", True),
        (400, "something_new_exception: unheard of", True),
        (403, "cluster_block_exception: index [x] blocked by: [FORBIDDEN/8/index write (api)]", True),
        (429, "cluster_block_exception: flood-stage watermark", True),
        (429, "es_rejected_execution_exception: busy", True),
        (503, "unavailable_shards_exception: no primary", True),
    ],
)
def test_a_document_is_refused_for_what_is_listed_alone(status: int, reason: str, temporary: bool) -> None:
    assert Result(status, reason=reason).is_temporary is temporary


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
