"""The connection to Elasticsearch: requests, bulk requests with their partial failures, and nothing of DICOM."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from elasticsearch import Elasticsearch
from elasticsearch.serializer import OrjsonSerializer

from vna.config import IndexSettings
from vna.domain.errors import ConfigurationError, UnavailableError
from vna.index.elastic_errors import (
    MissingIndexError,
    TooLargeForServiceError,
    body_of,
    is_refused,
    never_fits,
    query_errors,
    vendor_errors,
)

Body = dict[str, Any]

_BULK_BYTES = 8 << 20
_BULK_ATTEMPTS = 5
_BULK_FILTER = (
    "items.*.status,items.*._index,items.*._seq_no,items.*._primary_term,items.*.error.type,items.*.error.reason"
)
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Revision:
    """What compare-and-set compares: a document's place in its shard's history."""

    seq_no: int
    primary_term: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One item of a bulk request.

    Attributes
    ----------
    action
        ``create``, ``index``, ``update`` or ``delete``.
    index, id
        Which document; ``index`` is an alias, so that no index is ever made by a write.
    body
        The document (or the partial one) as JSON; empty for a deletion.
    expected
        Revision that the document must still have.
    """

    action: str
    index: str
    id: str
    body: bytes = b""
    expected: Revision | None = None

    def lines(self) -> list[bytes]:
        """Return the item as lines of NDJSON."""
        head: Body = {"_index": self.index, "_id": self.id}
        if self.action != "delete":
            head["require_alias"] = True
        if self.expected:
            head |= {"if_seq_no": self.expected.seq_no, "if_primary_term": self.expected.primary_term}
        first = orjson.dumps({self.action: head})
        if self.action == "update":
            return [first, b'{"doc":' + self.body + b"}"]
        return [first, self.body] if self.body else [first]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item of a bulk request."""

    status: int
    index: str = ""
    revision: Revision | None = None
    reason: str = ""

    @property
    def is_temporary(self) -> bool:
        """Whether the same item may be taken later: the service had another reason than the item, or none was told.

        404 and 409 are about the document that is there, or not: the caller's to judge.
        """
        return self.status >= 300 and self.status not in (404, 409) and not is_refused(self.status, self.reason)


class Connection:
    """A client of its own for each process, made when it is first needed."""

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Elasticsearch | None = None
        self._pid = 0

    @property
    def client(self) -> Elasticsearch:
        """The client. One that was made before a fork is left to the parent."""
        if self._client is None or self._pid != os.getpid():
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    self._client, self._pid = self._connect(), os.getpid()
        return self._client

    def _connect(self) -> Elasticsearch:
        given = self._settings
        options: Body = {}
        if given.ca is not None:
            options["ca_certs"] = str(given.ca)
        if given.api_key is not None:
            options["api_key"] = given.api_key.get_secret_value()
        elif given.username:
            password = given.password.get_secret_value() if given.password else ""
            options["basic_auth"] = (given.username, password)
        try:
            return self._client_of(options)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"VNA_INDEX__HOSTS or VNA_INDEX__CA: {error}") from error

    def _client_of(self, options: Body) -> Elasticsearch:
        given = self._settings
        return Elasticsearch(
            list(given.hosts),
            request_timeout=given.timeout_seconds,
            max_retries=2,
            retry_on_status=(429, 502, 503, 504),
            # Another node may answer; the same one would only be slow again.
            retry_on_timeout=len(given.hosts) > 1,
            connections_per_node=_CONNECTIONS,
            http_compress=not all(_is_local(host) for host in given.hosts),
            serializer=OrjsonSerializer(),
            **options,
        )

    def close(self) -> None:
        """Release the connections of this process."""
        with self._lock:
            if self._client is not None and self._pid == os.getpid():
                self._client.close()
            self._client = None

    def search(self, doing: str, body: Body, index: str | None = None) -> Body:
        """Search, of all shards or not at all."""
        with query_errors(doing):
            # Without an index: of a point in time, which knows its own.
            answer = self.client.search(index=index, body=body, allow_partial_search_results=False)
            return body_of(answer, doing)

    def multi_search(self, doing: str, searches: Sequence[tuple[str, Body]]) -> list[Body]:
        """Make several searches in one request, of all shards or not at all."""
        lines: list[Body] = []
        for index, body in searches:
            lines += [{"index": index, "allow_partial_search_results": False}, body]
        with query_errors(doing):
            answers: list[Body] = body_of(self.client.msearch(searches=lines), doing)["responses"]
        for answer in answers:
            if "error" in answer:
                kind, status = answer["error"].get("type"), answer.get("status")
                error = MissingIndexError if kind == "index_not_found_exception" else UnavailableError
                raise error(f"Elasticsearch: {doing}: {status} {kind}: {str(answer['error'].get('reason'))[:300]}")
        return answers

    def count_by(self, field: str, ids: Sequence[str], indices: Sequence[str]) -> list[dict[str, int]]:
        """Return for each index how many documents have each of some identities in a field."""
        query = {"bool": {"filter": [{"terms": {field: list(ids)}}], "must_not": [{"term": {"removed": True}}]}}
        by = {"terms": {"field": field, "size": len(ids), "shard_size": len(ids)}}
        body = {"size": 0, "track_total_hits": False, "query": query, "aggs": {"by": by}}
        return [
            {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["by"]["buckets"]}
            for answer in self.multi_search("count", [(index, body) for index in indices])
        ]

    def get_many(self, doing: str, wanted: Sequence[tuple[str, str, Sequence[str]]]) -> list[Body]:
        """Read documents (index, id, fields) as they are now; ``found`` says whether there is one.

        Raises ``MissingIndexError`` if an index is not there.
        """
        docs = [
            {"_index": index, "_id": key, "_source": list(fields) if fields else True} for index, key, fields in wanted
        ]
        with vendor_errors(doing):
            answers: list[Body] = body_of(self.client.mget(docs=docs), doing)["docs"]
        for answer in answers:
            if "error" in answer:
                kind = answer["error"].get("type")
                error = MissingIndexError if kind == "index_not_found_exception" else UnavailableError
                raise error(f"Elasticsearch: {doing}: {kind}: {str(answer['error'].get('reason'))[:300]}")
        return answers

    def refresh(self, index: str) -> None:
        """Make what was written visible to searches."""
        with vendor_errors("refresh"):
            answer = body_of(self.client.indices.refresh(index=index), "refresh")
            failed = answer["_shards"]["failed"]
        if failed:
            raise UnavailableError(f"Elasticsearch: refresh: {failed} shards failed")

    def bulk(self, doing: str, operations: Sequence[Operation]) -> list[Result]:
        """Write items, those that the service is too busy for a few times; return what became of each.

        An item that is refused for what it is has status 400, or 413 if it is
        more than the service takes at once.

        Raises
        ------
        MissingIndexError
            An alias is not there.
        UnavailableError
            The service is down, or some items were refused again and again.
            Others may be stored.
        """
        results: dict[int, Result] = {}
        waiting = list(range(len(operations)))
        for attempt in range(_BULK_ATTEMPTS):
            if attempt:
                time.sleep(min(0.1 * 2**attempt, 2))
            for chunk in _chunks(operations, waiting):
                results |= self._send(doing, operations, chunk)
            for place in waiting:
                # Of a document that is not there nothing is said.
                if results[place].reason.startswith("index_not_found_exception"):
                    raise MissingIndexError(f"Elasticsearch: {doing}: {results[place].reason}")
            waiting = [place for place in waiting if results[place].is_temporary]
            if not waiting:
                return [results[place] for place in range(len(operations))]
        first = results[waiting[0]]
        raise UnavailableError(
            f"Elasticsearch: {doing}: {len(waiting)} of {len(operations)} items refused: {first.status} {first.reason}"
        )

    def try_bulk(self, doing: str, operations: Sequence[Operation], seconds: float) -> list[Result]:
        """Write items, once and within some seconds; return what became of each."""
        client = self.client.options(request_timeout=seconds, max_retries=0)
        results = self._bulk_once(doing, operations, range(len(operations)), client)
        return list(results.values())

    def _send(self, doing: str, operations: Sequence[Operation], places: Sequence[int]) -> dict[int, Result]:
        """Send items in one request; where that is more than the service takes, in several, down to each alone."""
        try:
            results = self._bulk_once(doing, operations, places)
        except TooLargeForServiceError as error:
            if len(places) == 1:
                return {places[0]: _too_large(operations[places[0]], str(error))}
            middle = len(places) // 2
            first, second = places[:middle], places[middle:]
            return self._send(doing, operations, first) | self._send(doing, operations, second)
        large = [place for place, result in results.items() if result.status == 429 and never_fits(result.reason)]
        for place in large:
            if len(places) == 1:
                return {place: _too_large(operations[place], results[place].reason)}
            results |= self._send(doing, operations, [place])
        return results

    def _bulk_once(
        self, doing: str, operations: Sequence[Operation], places: Sequence[int], client: Elasticsearch | None = None
    ) -> dict[int, Result]:
        lines: list[Any] = [line for place in places for line in operations[place].lines()]
        with vendor_errors(doing):
            answer = body_of((client or self.client).bulk(operations=lines, filter_path=_BULK_FILTER), doing)
        items = answer.get("items", [])
        if len(items) != len(places):
            raise UnavailableError(f"Elasticsearch: {doing}: {len(items)} results for {len(places)} items")
        return {place: _result(next(iter(item.values()))) for place, item in zip(places, items, strict=True)}


def _result(item: Mapping[str, Any]) -> Result:
    error = item.get("error") or {}
    revision = Revision(item["_seq_no"], item["_primary_term"]) if "_seq_no" in item else None
    reason = f"{error.get('type')}: {str(error.get('reason'))[:300]}" if error else ""
    return Result(item["status"], item.get("_index", ""), revision, reason)


def _too_large(operation: Operation, reason: str) -> Result:
    return Result(413, reason=f"{len(operation.body)} bytes of JSON are more than the service takes: {reason}"[:500])


def _chunks(operations: Sequence[Operation], places: Sequence[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    size = 0
    for place in places:
        length = len(operations[place].body)
        if chunk and size + length > _BULK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(place)
        size += length
    if chunk:
        yield chunk


def _is_local(host: str) -> bool:
    return host.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
