"""Which instances a request names."""

from __future__ import annotations

from vna.domain.errors import NotFoundError
from vna.domain.query import Selector
from vna.domain.records import Location
from vna.ports.index import IndexReader
from vna.retrieve import noted


def select(index: IndexReader, study: str, series: str | None = None, instance: str | None = None) -> list[Location]:
    """Return the current instances of a study, a series or an instance, in the order of the index.

    Raises
    ------
    NotFoundError
        There are none; it says what was looked for.
    """
    selector = Selector(studies=(study,), series=(series,) if series else (), instances=(instance,) if instance else ())
    found = list(index.locate(selector))
    if found:
        noted.note(found)
        return found
    parts = [f"study {study}"]
    parts += [f"series {series}"] if series else []
    parts += [f"instance {instance}"] if instance else []
    raise NotFoundError(f"the archive has no {', '.join(reversed(parts))}")
