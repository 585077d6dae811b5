"""What became of each part of a store request, and what is asked of every instance (PS3.18 10.5, I.2)."""

from __future__ import annotations

from dataclasses import dataclass

from vna.dicom.dictionary import is_other_than_storage
from vna.dicom.part10 import Head

# Failure reasons of PS3.18 I.2.2.
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
# Warning reason of PS3.18 I.2.1.
NOT_OF_THE_SOP_CLASS = 0xB007


class RefusedError(Exception):
    """An instance cannot be kept.

    Parameters
    ----------
    reason
        Failure Reason (0008,1197).
    detail
        A sentence for a person.
    """

    def __init__(self, reason: int, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Outcome:
    """What became of one part or instance. ``reason`` is 0 if it is stored, ``warning`` if nothing is to be said."""

    head: Head | None = None
    reason: int = 0
    detail: str = ""
    warning: int = 0
    name: str = ""

    @property
    def sop_class(self) -> str:
        """SOP Class UID, as far as it is known."""
        return (self.head.sop_class or self.head.media_class) if self.head else ""

    @property
    def sop_instance(self) -> str:
        """SOP Instance UID, as far as it is known."""
        return (self.head.sop_instance or self.head.media_instance) if self.head else ""

    def refuse(self, reason: int, detail: str) -> None:
        """Note that it is not stored, and why."""
        self.reason = reason
        self.detail = detail

    def check(self, study: str | None) -> None:
        """Judge by the head; raises ``RefusedError`` for what may not be kept.

        Parameters
        ----------
        study
            Study Instance UID of the request's URL, if it names one.
        """
        head = self.head
        assert head is not None
        missing = [
            name
            for name, value in (
                ("SOP Class UID (0008,0016)", self.sop_class),
                ("SOP Instance UID (0008,0018)", self.sop_instance),
                ("Study Instance UID (0020,000D)", head.study),
                ("Series Instance UID (0020,000E)", head.series),
            )
            if not value
        ]
        if missing:
            raise RefusedError(CANNOT_UNDERSTAND, f"the data set has no {', no '.join(missing)}")
        if study is not None and head.study != study:
            raise RefusedError(MISMATCH, f"Study Instance UID {head.study} is not that of the request's URL")
        if is_other_than_storage(self.sop_class):
            raise RefusedError(SOP_CLASS_NOT_SUPPORTED, f"{self.sop_class} is no SOP class of stored instances")
        if head.media_class and head.sop_class and head.media_class != head.sop_class:
            self.warning = NOT_OF_THE_SOP_CLASS
            self.detail = (
                f"SOP Class UID {head.sop_class} of the data set is not {head.media_class} of the File Meta Information"
            )
