"""What Elasticsearch's failures mean in the archive's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from elasticsearch import ApiError, TransportError
from elasticsearch import SerializationError as ClientSerializationError

from vna.domain.errors import ArchiveError, ConflictError, InvalidQueryError, UnavailableError

# Refused credentials are somebody's to mend on the service: what was sent is good and must not be given up.
_LATER = frozenset({401, 403, 404, 405, 408, 429})


class MissingIndexError(UnavailableError):
    """An index or alias that was there is gone: the index was swapped, or removed by somebody."""


def is_temporary(status: int) -> bool:
    """Say whether the same request may succeed later."""
    return status in _LATER or status >= 500


def archive_error(error: Exception, doing: str) -> ArchiveError:
    """Return what an error of the client is to the archive."""
    if isinstance(error, ApiError):
        status, kind = error.status_code, str(error.error)
        if status == 404 and kind in ("index_not_found_exception", "search_context_missing_exception"):
            return MissingIndexError(f"Elasticsearch: {doing}: {kind}")
        message = f"Elasticsearch: {doing}: {status} {_shorten(error)}"
        if status == 409:
            return ConflictError(message)
        if status < 300 or is_temporary(status):  # below 300: what answered is no Elasticsearch
            return UnavailableError(message)
        return InvalidQueryError(message)
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


def body_of(answer: Any, doing: str) -> dict[str, Any]:
    """Return the body of an answer. One that was cut within its headers has none, and yet a good status."""
    body: Any = answer.body
    if not isinstance(body, dict):
        raise UnavailableError(f"Elasticsearch: {doing}: the answer is cut")
    return body


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
