"""What each principal sees of the archive. Whoever reads for a person reads by their view, and never by the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vna.domain.records import Location
from vna.ports.index import IndexReader
from vna.ports.objects import ObjectReader
from vna.security.principals import Permission, Principal
from vna.security.restricted_index import RestrictedIndex


@dataclass(frozen=True, slots=True)
class View:
    """The archive as one principal sees it.

    Attributes
    ----------
    index
        Finds what they may see; all else is not there.
    objects
        Has the contents of what the index finds, as they may see them.
    deidentified
        Whether what they see is de-identified.
    release
        Returns those of some instances whose contents they may have, with their
        sizes as they go out; raises ``WithheldError`` if they may have none.
    matches
        Says whether there is a search by an attribute, given its path.
    """

    index: IndexReader
    objects: ObjectReader
    deidentified: bool = False
    release: Callable[[Sequence[Location]], list[Location]] = list
    matches: Callable[[str], bool] = lambda _path: True


class Views:
    """Makes the views of an archive.

    Parameters
    ----------
    index
        Finds everything.
    objects
        Has everything.
    deidentified
        Makes the view of somebody who may see what an index finds, but not whose it is.
    """

    def __init__(self, index: IndexReader, objects: ObjectReader, deidentified: Callable[[IndexReader], View]) -> None:
        self._index = index
        self._objects = objects
        self._deidentified = deidentified

    def of(self, principal: Principal) -> View:
        """Return what a principal sees."""
        limits = principal.limits
        if principal.scope is not None:
            limits = limits.to_study(principal.scope.study)
        index = RestrictedIndex(self._index, limits) if limits else self._index
        if not principal.may(Permission.READ):
            return self._deidentified(index)
        return View(index, self._objects)
