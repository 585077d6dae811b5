"""What each principal sees of the archive. Whoever reads for a person reads by their view, and never by the index."""

from __future__ import annotations

from dataclasses import dataclass

from vna.ports.index import Index
from vna.security.principals import Principal
from vna.security.restricted_index import RestrictedIndex


@dataclass(frozen=True, slots=True)
class View:
    """The archive as one principal sees it.

    Attributes
    ----------
    index
        Finds what they may see; all else is not there.
    deidentifier
        What the contents pass through before they see them, ``None`` for nothing.
    """

    index: Index
    deidentifier: None = None


class Views:
    """Makes the views of an archive.

    Parameters
    ----------
    index
        Finds everything.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    def of(self, principal: Principal) -> View:
        """Return what a principal sees."""
        limits = principal.limits
        if principal.scope is not None:
            limits = limits.to_study(principal.scope.study)
        return View(RestrictedIndex(self._index, limits) if limits else self._index)
