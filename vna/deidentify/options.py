"""Which options of the profile are in use (PS3.15 E.3), and how a de-identified object tells them."""

from __future__ import annotations

from dataclasses import dataclass

from vna import __version__
from vna.deidentify.table import EDITION
from vna.domain.records import Attributes


@dataclass(frozen=True, slots=True)
class Options:
    """The options. UIDs are always retained (E.3.9), so that what is found can be asked for.

    Attributes
    ----------
    dates
        Retain Longitudinal Temporal Information with Full Dates (E.3.6).
    descriptors
        Descriptions of studies, series and protocols are kept as they are, but for those that hold a word of a name
        or number of the patient. That is less than the Clean Descriptors Option (E.3.4), and is not told as one.
    devices
        Retain Device Identity (E.3.8).
    patient
        Retain Patient Characteristics (E.3.7).
    private
        Retain Safe Private (E.3.10): of the private attributes that the standard lists the numbers, codes, UIDs, short
        texts and sequences.
    """

    dates: bool = False
    descriptors: bool = False
    devices: bool = False
    patient: bool = False
    private: bool = False

    @property
    def retained(self) -> frozenset[str]:
        """The options of the table whose ``K`` holds, by their names there."""
        chosen = {"uids": True, "full-dates": self.dates, "devices": self.devices, "patient": self.patient}
        return frozenset(name for name, on in chosen.items() if on)

    def told(self) -> Attributes:
        """Return the attributes that say how an object was de-identified (PS3.3 C.7.1.1, C.12.1, CID 7050)."""
        codes = [("113100", "Basic Application Confidentiality Profile"), ("113110", "Retain UIDs Option")]
        if self.dates:
            codes.append(("113106", "Retain Longitudinal Temporal Information Full Dates Option"))
        if self.patient:
            codes.append(("113108", "Retain Patient Characteristics Option"))
        if self.devices:
            codes.append(("113109", "Retain Device Identity Option"))
        if self.private:
            codes.append(("113111", "Retain Safe Private Option"))
        method = [f"PS3.15 {EDITION} Annex E Basic Profile, by vna {__version__}"]
        if self.descriptors:
            method.append("Descriptors retained unless an identifier was found in them")
        return {
            "00120062": {"vr": "CS", "Value": ["YES"]},
            "00120063": {"vr": "LO", "Value": method},
            "00120064": {"vr": "SQ", "Value": [_code(value, meaning) for value, meaning in codes]},
            "00280303": {"vr": "CS", "Value": ["UNMODIFIED" if self.dates else "REMOVED"]},
        }


def _code(value: str, meaning: str) -> Attributes:
    return {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": ["DCM"]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
