"""What a rule of normalisation is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes
    ----------
    name
        Stands in the list of changes.
    vrs
        Value representations (PS3.5 6.2) whose values it looks at.
    apply
        Takes one value in the DICOM JSON model, never ``None``, and returns it
        as it should be; ``None`` removes it from the normalised view. Pure, never
        raises, and changes nothing when applied to its own result.
    """

    name: str
    vrs: frozenset[str]
    apply: Callable[[Any], Any]
