"""What Elasticsearch's failures mean in the archive's words.

A refusal is the fault of a document, or of a query, only if Elasticsearch says
so in a way that is listed here. All else is the service's: a shard limit, a
read-only or closed index, a mapping that cannot be made, an expired licence,
are 400 or 403 like a document that is none, and pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elasticsearch import ApiError, TransportError
from elasticsearch import SerializationError as ClientSerializationError

from vna.domain.errors import ArchiveError, ConflictError, InvalidQueryError, UnavailableError

_DOCUMENT_REFUSED = frozenset(
    {
        "document_parsing_exception",
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "x_content_parse_exception",
        "json_parse_exception",
        "parsing_exception",
        "max_bytes_length_exceeded_exception",
    }
)
# Of a kind that means much else, too.
_IMMENSE_TERM = "illegal_argument_exception: Document contains at least one immense term"
_QUERY_REFUSED = frozenset(
    {
        "search_phase_execution_exception",
        "parsing_exception",
        "x_content_parse_exception",
        "query_shard_exception",
        "illegal_argument_exception",
        "too_many_nested_clauses",
        "too_many_clauses",
    }
)
# "… coordinating_operation_bytes=90000163, max_coordinating_bytes=77850214": no waiting makes it fit.
_OPERATION_BYTES = re.compile(r"operation_bytes=(\d+), max_\w*bytes=(\d+)")


class MissingIndexError(UnavailableError):
    """An index or alias that was there is gone: the index was swapped, or removed by somebody."""


class TooLargeForServiceError(UnavailableError):
    """A request is larger than the service will ever take. Of several documents, each may be sent alone."""


def is_refused(status: int, reason: str) -> bool:
    """Say whether an item of a bulk request is refused for what it is, by its status and ``kind: reason``."""
    if status != 400:
        return status == 413
    return reason.partition(":")[0] in _DOCUMENT_REFUSED or reason.startswith(_IMMENSE_TERM)


def never_fits(reason: str) -> bool:
    """Say whether a request that the service was too busy for is more than it takes when it does nothing else."""
    found = _OPERATION_BYTES.search(reason)
    return found is not None and int(found.group(1)) > int(found.group(2))


def archive_error(error: Exception, doing: str) -> ArchiveError:
    """Return what an error of the client is to the archive."""
    if isinstance(error, ApiError):
        status, kind = error.status_code, str(error.error)
        if status == 404 and kind in ("index_not_found_exception", "search_context_missing_exception"):
            return MissingIndexError(f"Elasticsearch: {doing}: {kind}")
        message = f"Elasticsearch: {doing}: {status} {_shorten(error)}"
        if status == 409:
            return ConflictError(message)
        if status == 413 or (status == 429 and never_fits(str(error))):
            return TooLargeForServiceError(message)
        return UnavailableError(message)
    message = f"Elasticsearch: {doing}: {_shorten(error)}"
    if isinstance(error, ClientSerializationError) and error.errors and isinstance(error.errors[0], TypeError):
        return InvalidQueryError(message)
    return UnavailableError(message)


@contextmanager
def vendor_errors(doing: str) -> Iterator[None]:
    """Turn errors of the client inside the block into the archive's."""
    try:
        yield
    except (ApiError, TransportError) as error:
        raise archive_error(error, doing) from error


@contextmanager
def query_errors(doing: str) -> Iterator[None]:
    """Turn errors of the client inside the block into the archive's: ``InvalidQueryError`` for a query refused."""
    try:
        yield
    except (ApiError, TransportError) as error:
        if isinstance(error, ApiError) and error.status_code == 400 and str(error.error) in _QUERY_REFUSED:
            raise InvalidQueryError(f"Elasticsearch: {doing}: 400 {_shorten(error)}") from error
        raise archive_error(error, doing) from error


def body_of(answer: Any, doing: str) -> dict[str, Any]:
    """Return the body of an answer. One that was cut within its headers has none, and yet a good status."""
    body: Any = answer.body
    if not isinstance(body, dict):
        raise UnavailableError(f"Elasticsearch: {doing}: the answer is cut")
    return body


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
