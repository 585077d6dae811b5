"""What is done to an attribute: by the table, the options in use and, where it is silent, by what the value can be."""

from __future__ import annotations

from enum import Enum, auto

from vna.deidentify.options import Options
from vna.deidentify.safe import CODES, DESCRIPTORS, DEVICE_KINDS, SAFE_BINARY, SAFE_TEXTS
from vna.deidentify.table import safe_private, table
from vna.dicom.dictionary import BULK_VRS, public_vr

NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
DATES = frozenset({"DA", "TM", "DT"})
TEXTS = frozenset({"LO", "SH", "LT", "ST", "UT", "UC"})

# PS3.5 7.1: commands, File Meta Information, directories, and what only delimits.
_NO_DATA = frozenset({0x0000, 0x0002, 0x0004, 0x0006, 0xFFFE})
# Of safe private attributes; binary values and long texts are none that anybody can look through.
_PRIVATE_VRS = frozenset({"CS", "UI", "SQ", "LO", "SH"})
# Numbers that a file may hold in either form.
_ALIKE = frozenset({"US", "SS", "OW", "OB"})


class Action(Enum):
    """What is done to an attribute."""

    KEEP = auto()
    """Its value stays, if it is what the VR says; the items of a sequence are seen to one by one."""
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()


class Profile:
    """The profile with its options.

    Parameters
    ----------
    options
        Those in use.
    dummies
        Whether the table's dummies are made where it leaves a choice, so that the
        result is an object that its IOD allows; else as little is made as can be.
    """

    def __init__(self, options: Options, *, dummies: bool = True) -> None:
        self.options = options
        self._dummies = dummies
        self._retained = options.retained
        self._actions: dict[tuple[str, str], Action] = {}

    def action(self, tag: str, vr: str) -> Action:
        """Return what is done to an attribute.

        Parameters
        ----------
        tag
            Eight hex digits.
        vr
            Value representation that its value is in, which a file may tell otherwise than the standard.
        """
        known = self._actions.get((tag, vr))
        if known is None:
            known = self._decide(tag, vr)
            if len(self._actions) < 20_000:
                self._actions[tag, vr] = known
        return known

    def keeps_private(self, tag: str, vr: str, creator: str) -> bool:
        """Say whether a private attribute stays, which its creator names (PS3.5 7.8.1)."""
        if not self.options.private or (tag[:4] + tag[6:], creator) not in safe_private():
            return False
        return vr in NUMBERS or vr in _PRIVATE_VRS

    def _decide(self, tag: str, vr: str) -> Action:
        number = int(tag, 16)
        group = number >> 16
        if group & 1 or group in _NO_DATA or not number & 0xFFFF or group >> 8 in {0x50, 0x60}:
            return Action.REMOVE
        standard = public_vr(number)
        if standard != vr and not {standard, vr} <= _ALIKE:
            # A name that a file has in an attribute for numbers is none of the numbers that the table keeps.
            return Action.REMOVE
        row = table().get(tag)
        if row is None:
            return self._unnamed(tag, vr)
        if any(row.options.get(option) == "K" for option in self._retained):
            return Action.KEEP
        if self.options.descriptors and tag in DESCRIPTORS:
            return Action.KEEP
        return self._basic(row.basic, vr)

    def _basic(self, code: str, vr: str) -> Action:
        """Return what an action code of the table comes to, whatever type (PS3.5 7.4) an attribute has in its object.

        A dummy is right for each type where the table has one among its choices, an empty value where it has that.
        """
        codes = code.split("/")
        if "X" in codes and not self._dummies:
            return Action.REMOVE
        if "D" in codes and (self._dummies or "Z" not in codes):
            # No item can be made up that is right: what is in one goes, and so do binary values.
            return Action.EMPTY if vr == "SQ" or vr in BULK_VRS or vr in {"UI", "UR"} else Action.DUMMY
        return Action.EMPTY if "Z" in codes else Action.REMOVE

    def _unnamed(self, tag: str, vr: str) -> Action:
        """Decide on what the table does not name."""
        if vr in NUMBERS or vr in {"CS", "UI", "SQ"}:
            return Action.KEEP
        if vr in DATES:
            return Action.KEEP if self.options.dates else Action.REMOVE
        if vr in TEXTS and public_vr(int(tag, 16)) == vr:
            # Objects of some kinds must have it, if only empty (PS3.5 7.4.3).
            return Action.KEEP if tag in SAFE_TEXTS else Action.EMPTY
        return Action.KEEP if vr in BULK_VRS and tag in SAFE_BINARY else Action.REMOVE

    def is_matched(self, path: str) -> bool:
        """Say whether there is a search by an attribute, if only by whole values."""
        return self.searchable(path, whole=True)

    def searchable(self, path: str, *, whole: bool) -> bool:
        """Say whether a search by an attribute tells nothing but what its value does, which is seen anyway.

        Parameters
        ----------
        path
            As in :mod:`vna.domain.query`.
        whole
            Whether whole values are asked for, rather than parts or ranges of them: of texts and codes, values that are
            not seen could be found out by these.
        """
        *outer, tag = path.split(".")
        if "@" in path or any(self.action(each, "SQ") is not Action.KEEP for each in outer):
            return False
        vr = public_vr(int(tag, 16))
        if self.action(tag, vr) is not Action.KEEP:
            return False
        if vr in TEXTS:
            return tag in DEVICE_KINDS or (whole and tag in CODES)
        return whole or vr in NUMBERS or vr in DATES
