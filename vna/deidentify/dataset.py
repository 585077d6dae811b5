"""De-identifying a data set in the DICOM JSON model (PS3.18 F.2), through all sequences."""

from __future__ import annotations

import re
from typing import Any

from vna.deidentify.naming import Naming
from vna.deidentify.profile import NUMBERS, TEXTS, Action, Profile
from vna.deidentify.pseudonyms import Pseudonyms
from vna.deidentify.safe import CODING_SCHEME, DEVICE_KINDS, PUBLIC_SCHEMES, TEXTS_OF_A_CODE
from vna.dicom.dictionary import BULK_VRS, PIXEL_TAGS
from vna.domain.records import Attributes
from vna.normalise.terms import private_creator

_DUMMIES: dict[str, Any] = {
    "PN": {"Alphabetic": "REMOVED"},
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT"), "REMOVED"),
    "AS": "000Y",
    "DA": "19000101",
    "TM": "000000",
    "DT": "19000101000000",
}
# PS3.5 6.2; small letters are as harmless, and many files have them.
_FORMS = {
    "CS": re.compile(r"[A-Za-z0-9 _]{0,16}"),
    "AS": re.compile(r"[0-9]{3}[DWMY]"),
    "UI": re.compile(r"[0-9.]{1,64}"),
    "DA": re.compile(r"[0-9.]{8,10}"),
    "TM": re.compile(r"[0-9:.]{2,16}"),
    "DT": re.compile(r"[0-9.+-]{4,26}"),
}
# What the instance is asked for by: it stays, whatever it is.
_IDENTITY = frozenset({"0020000D", "0020000E", "00080018"})
# Codes without which nothing can be shown, whoever is called like one: Specific Character Set, Image Type, Modality.
_TERMS = frozenset({"00080005", "00080008", "00080060", "00080061"})
_NUMBER = re.compile(r"[+-]?[0-9.]{1,64}([eE][+-]?[0-9]{1,4})?|NaN|-?INF")
_MOST_DEPTH = 64
_ODD = frozenset("13579BDF")


class Deidentifier:
    """De-identifies data sets.

    Parameters
    ----------
    profile
        What is done to each attribute.
    pseudonyms
        What patients are called instead.
    """

    def __init__(self, profile: Profile, pseudonyms: Pseudonyms) -> None:
        self.profile = profile
        self.pseudonyms = pseudonyms
        self._objects = _Cleaner(profile)
        self._results = _Cleaner(Profile(profile.options, dummies=False))
        self._told = profile.options.told()

    def data_set(self, attributes: Attributes) -> Attributes:
        """Return what may be shown of a data set. The one given is not altered; parts may be shared with it.

        An attribute that is not there is not added, but for the pseudonym (as
        Patient's Name and Patient ID) and those that tell of the de-identification.
        """
        return self._named(self._objects.clean(attributes), attributes)

    def result(self, attributes: Attributes) -> Attributes:
        """Return what may be shown of the result of a search: as of a data set, without dummies for what is removed."""
        return self._named(self._results.clean(attributes), attributes)

    def value_may_be_seen(self, tag: str, vr: str, value: Any) -> bool:
        """Say whether a single value of an attribute stays."""
        return self.profile.action(tag, vr) is Action.KEEP and (tag in DEVICE_KINDS or is_plain(vr, value))

    def _named(self, cleaned: Attributes, attributes: Attributes) -> Attributes:
        pseudonym = self.pseudonyms.of(attributes)
        cleaned |= self._told
        cleaned["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": pseudonym}]}
        cleaned["00100020"] = {"vr": "LO", "Value": [pseudonym]}
        return dict(sorted(cleaned.items()))


class _Cleaner:
    """Does to each attribute what a profile says, through all sequences."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._action = profile.action

    def clean(self, attributes: Attributes) -> Attributes:
        """Return a data set cleaned."""
        return self._data_set(attributes, Naming.of(attributes), 0)

    def _data_set(self, attributes: Attributes, naming: Naming, depth: int) -> Attributes:
        result: Attributes = {}
        own_code = bool(depth) and CODING_SCHEME in attributes and not _is_public(attributes[CODING_SCHEME])
        for tag, element in attributes.items():
            vr = element.get("vr")
            if not isinstance(vr, str):
                continue
            if tag in _IDENTITY and not depth:
                result[tag] = element
                continue
            if tag[3] in _ODD:
                self._private(tag, attributes, result, naming, depth)
                continue
            action = self._action(tag, vr)
            if own_code and tag in TEXTS_OF_A_CODE:
                action = Action.DUMMY
            if action is Action.KEEP:
                kept = self._kept(tag, vr, element, naming, depth)
                if kept is not None:
                    result[tag] = kept
            elif action is not Action.REMOVE:
                has_value = action is Action.DUMMY and len(element) > 1
                result[tag] = {"vr": vr, "Value": [_DUMMIES[vr]]} if has_value and vr in _DUMMIES else {"vr": vr}
        return result

    def _private(self, tag: str, attributes: Attributes, result: Attributes, naming: Naming, depth: int) -> None:
        """Put a private attribute that may stay into a result, with the element that names its creator."""
        vr, creator = attributes[tag]["vr"], private_creator(tag, attributes)
        if creator and self._profile.keeps_private(tag, vr, creator):
            kept = self._kept(tag, vr, attributes[tag], naming, depth)
            if kept is not None:
                result[f"{tag[:4]}00{tag[4:6]}"] = {"vr": "LO", "Value": [creator]}
                result[tag] = kept

    def _kept(self, tag: str, vr: str, element: Attributes, naming: Naming, depth: int) -> Attributes | None:
        """Return an element whose value may stay, ``None`` if it is not what its VR says."""
        if len(element) == 1:
            return element
        values = element.get("Value")
        if vr == "SQ":
            if not isinstance(values, list) or depth >= _MOST_DEPTH:
                return None
            items = [self._data_set(item, naming, depth + 1) if isinstance(item, dict) else {} for item in values]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if vr in BULK_VRS:
            if depth and int(tag, 16) in PIXEL_TAGS:
                # Another image than the one that is looked at (pixels.py).
                return None
            return element if element.keys() & {"InlineBinary", "BulkDataURI"} else None
        if not isinstance(values, list):
            # A text so long that it is bulk data.
            return None
        # A name may be where none should be.
        is_text = vr in TEXTS
        if may_name(tag, vr) and any(map(naming.are_in_text if is_text else naming.are_in_code, values)):
            return None
        return element if is_text or all(is_plain(vr, value) for value in values) else None


def may_name(tag: str, vr: str) -> bool:
    """Say whether a value that stays is looked through for names."""
    return tag not in DEVICE_KINDS if vr in TEXTS else vr == "CS" and tag[:4] != "0028" and tag not in _TERMS


def is_plain(vr: str, value: Any) -> bool:
    """Say whether a value is what its VR says (PS3.5 6.2), so that no text hides in it. Free texts never are."""
    if value is None or value == "":
        return True
    if vr in NUMBERS and vr != "AT":
        return isinstance(value, (int, float)) or bool(_NUMBER.fullmatch(str(value).strip()))
    form = _FORMS.get(vr)
    if form is not None:
        return isinstance(value, str) and bool(form.fullmatch(value.strip()))
    return vr == "AT"


def _is_public(scheme: Attributes) -> bool:
    """Say whether a coding scheme is a published one."""
    return all(str(value).strip() in PUBLIC_SCHEMES for value in scheme.get("Value") or ("",))
