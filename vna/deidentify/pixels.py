"""Which instances are withheld, since pixels, texts or waveforms in them may tell whose they are.

No pixel is looked at. What an instance says of itself decides, and the kind
of object; what is not known to be free of names is withheld.
"""

from __future__ import annotations

from collections.abc import Iterator

from vna.dicom.dictionary import uid_name
from vna.domain.records import Attributes

_STORAGE = "1.2.840.10008.5.1.4.1.1."

# Pixels as a detector or a reconstruction gives them: nothing is written into an image that is ORIGINAL and PRIMARY
# (PS3.3 C.7.6.1.1.2). Computed radiography is not among them: cassettes are marked with names by light.
_ACQUIRED = frozenset(
    _STORAGE + each
    for each in (
        *("2", "2.1", "2.2"),  # CT
        *("4", "4.1", "4.2", "4.4"),  # MR
        *("20", "5"),  # nuclear medicine
        *("128", "128.1", "130"),  # PET
        *("12.1", "12.1.1", "12.2", "12.2.1"),  # angiography, fluoroscopy
        *("13.1.1", "13.1.2", "13.1.3"),  # X-ray in three dimensions
    )
)
# Computed from images, or no image at all: there is no text but in attributes, which are seen to.
_COMPUTED = frozenset(
    _STORAGE + each
    for each in (
        *("66.1", "66.2", "66.3", "66.4", "66.5", "66.6", "67", "30"),  # registration, segmentation, maps
        *("481.2", "481.3", "481.5", "481.8"),  # radiotherapy: dose, structures, plans
    )
)
# Text that nobody has cleaned: structured reports, encapsulated documents.
_REPORTS, _DOCUMENTS = f"{_STORAGE}88.", f"{_STORAGE}104."


def refusal(attributes: Attributes) -> str:
    """Return why an instance is withheld, empty if it is not.

    Parameters
    ----------
    attributes
        Its data set as received.
    """
    sop_class = _first(attributes, "00080016")
    kind = uid_name(sop_class) or f"SOP class {sop_class}"
    if sop_class.startswith((_REPORTS, _DOCUMENTS)):
        return f"{kind}: its text is not de-identified"
    features = _values(attributes, "00280302")
    if features and not _all_no(features):
        return "RecognizableVisualFeatures (0028,0302) says that a face may be recognised in it"
    if any(_is_embedded(attributes, tag) for tag in attributes if tag[:2] == "60"):
        return "an overlay lies in unused bits of its pixels"
    burned = _values(attributes, "00280301")
    if burned and not _all_no(burned):
        return "BurnedInAnnotation (0028,0301) says that its pixels may hold a name"
    if burned or sop_class in _COMPUTED:
        return ""
    if sop_class not in _ACQUIRED:
        return f"{kind}: nothing says that its content holds no name, BurnedInAnnotation (0028,0301) is missing"
    if any(each[:2] != ["ORIGINAL", "PRIMARY"] for each in (_image_type(attributes), *_frame_types(attributes))):
        return f"{kind}: it is no ORIGINAL PRIMARY image, and BurnedInAnnotation (0028,0301) is missing"
    return ""


def _is_embedded(attributes: Attributes, tag: str) -> bool:
    """Say whether Overlay Bit Position (60xx,0102) says so, which has been retired (PS3.3 2004, C.9.2)."""
    return tag[4:] == "0102" and _first(attributes, tag) not in {"", "0"}


def _values(attributes: Attributes, tag: str) -> list[str]:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    found = [str(value or "").strip().upper() for value in values] if isinstance(values, list) else []
    return found if any(found) else []


def _all_no(values: list[str]) -> bool:
    return set(values) == {"NO"}


def _first(attributes: Attributes, tag: str) -> str:
    return (_values(attributes, tag) or [""])[0]


def _frame_types(attributes: Attributes) -> Iterator[list[str]]:
    """Yield Frame Type (0008,9007) of the frames of an enhanced image (PS3.3 C.8.16.1): its own type may say less."""
    for group in _items(attributes, "52009229", "52009230"):
        for tag in group:
            yield from (_values(item, "00089007") for item in _items(group, tag) if "00089007" in item)


def _items(attributes: Attributes, *tags: str) -> Iterator[Attributes]:
    for tag in tags:
        element = attributes.get(tag, {})
        if element.get("vr") == "SQ":
            yield from (item for item in element.get("Value") or () if isinstance(item, dict))


def _image_type(attributes: Attributes) -> list[str]:
    return _values(attributes, "00080008")
