"""What the storage service accepts: SOP classes (PS3.4 B.5) and transfer syntaxes (PS3.5 10, PS3.6 A)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import AllTransferSyntaxes
from pynetdicom.sop_class import _STORAGE_CLASSES

VERIFICATION = "1.2.840.10008.1.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

# Named "Storage", but not composite objects of a patient: another service (media, commitment), or no study to file
# them under (PS3.4 GG: hanging protocols, palettes, implant templates, protocols, inventories).
_NO_STUDY = frozenset(
    {
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.20.2",
        "1.2.840.10008.5.1.1.27",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.3",
        "1.2.840.10008.5.1.4.1.1.200.7",
        "1.2.840.10008.5.1.4.1.1.201.1",
    }
)
# Not encodings of a data set on their own: MIME (PS3.10 retired), XML, and another file format.
_NO_DATA_SET = frozenset({"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20"})

STORAGE_SOP_CLASSES: frozenset[str] = frozenset(_STORAGE_CLASSES.values()) | {
    uid
    for uid, (name, kind, *_rest) in UID_dictionary.items()
    if kind == "SOP Class" and "Storage" in name and uid not in _NO_STUDY
}
"""Every storage SOP class of the current standard, and the retired ones, of which archives are full."""

TRANSFER_SYNTAXES: frozenset[str] = frozenset(str(uid) for uid in AllTransferSyntaxes) | {
    uid
    for uid, (_name, kind, *_rest) in UID_dictionary.items()
    if kind == "Transfer Syntax" and uid not in _NO_DATA_SET
}
"""Every transfer syntax: the gateway keeps the data set as it comes and decodes nothing."""


@dataclass(frozen=True, slots=True)
class Supported:
    """The abstract and transfer syntaxes that the receive path accepts.

    Attributes
    ----------
    storage
        SOP classes for storage.
    transfer_syntaxes
        For them, and for verification.
    """

    storage: frozenset[str] = STORAGE_SOP_CLASSES
    transfer_syntaxes: frozenset[str] = TRANSFER_SYNTAXES

    @classmethod
    def configured(cls, sop_classes: Iterable[str], transfer_syntaxes: Iterable[str]) -> Supported:
        """Return the standard's, and these private ones."""
        return cls(STORAGE_SOP_CLASSES.union(sop_classes), TRANSFER_SYNTAXES.union(transfer_syntaxes))

    def receives(self, abstract_syntax: str) -> bool:
        """Return whether the receive path serves an abstract syntax."""
        return abstract_syntax in self.storage or abstract_syntax == VERIFICATION
