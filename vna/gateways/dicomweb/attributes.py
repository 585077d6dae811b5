"""Attribute identifiers of a request (PS3.18 8.3.4.1): keywords, tags and dotted paths of either."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from vna.dicom.dictionary import private_vr, public_vr, tag_of
from vna.domain.errors import InvalidQueryError
from vna.domain.levels import VR_OF

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_PRIVATE = re.compile(r"([0-9A-Fa-f]{3}[13579BDFbdf])(?:xx|XX|[0-9A-Fa-f]{2})([0-9A-Fa-f]{2})@(.{1,64})", re.DOTALL)
_CREATOR = re.compile(r"[0-9A-Fa-f]{3}[13579BDFbdf]00[1-9A-Fa-f][0-9A-Fa-f]")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_MOST_PARTS = 64
_LONGEST_CREATOR = 64


def creators_of(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the private creators that a request names, by the tags of their elements.

    ``00290010=CREATOR`` says whose ``002910ee`` of the same request are (PS3.18
    8.3.4.1), and is no key by itself; the same within a sequence.

    Raises
    ------
    InvalidQueryError
        One has no value, or two.
    """
    found: dict[str, str] = {}
    for name, value in parameters:
        if is_creator(name):
            tag = name[-8:].upper()
            if found.setdefault(tag, value.strip()) != value.strip() or not value.strip():
                raise InvalidQueryError(f"{name}: a private creator has one value", attribute=name)
    return found


def is_creator(name: str) -> bool:
    """Say whether an identifier, or the last of a path, names a private creator's element by tag (PS3.5 7.8.1)."""
    return bool(_CREATOR.fullmatch(name.rpartition(".")[2]))


def path_of(name: str, creators: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the path (see :mod:`vna.domain.query`) that an identifier names.

    A private attribute is named with its creator, as ``0009xx02@CREATOR``: the
    block is of the one object alone (PS3.5 7.8.1). A private sequence is followed
    by what is in it, as ``0029xx10@CREATOR.00080100``.

    Parameters
    ----------
    name
        The identifier.
    creators
        Of attributes that are named by tag alone, see :func:`creators_of`.

    Raises
    ------
    InvalidQueryError
        Nothing has that name; it says which.
    """
    return ".".join(_part(part, name, creators) for part in parts_of(name))


def parts_of(name: str) -> list[str]:
    """Split an identifier or a path at its dots, but for those within the name of a private creator."""
    parts: list[str] = []
    rest = name
    while len(parts) < _MOST_PARTS:
        plain, at, behind = rest.partition("@")
        parts += plain.split(".")
        rest = ""
        if at:
            creator, rest = _creator(behind)
            parts[-1] += f"@{creator}"
        if not rest and len(parts) <= _MOST_PARTS:
            return parts
    raise _unknown(name, f"a path has at most {_MOST_PARTS} parts")


def _creator(text: str) -> tuple[str, str]:
    """Split what stands behind an ``@``: a creator may have dots, too, so it ends where attributes follow."""
    place = text.find(".")
    # A longer creator is none: nothing behind it need be looked at.
    while 0 <= place <= _LONGEST_CREATOR:
        if _names_attributes(text[place + 1 :]):
            return text[:place], text[place + 1 :]
        place = text.find(".", place + 1)
    return text, ""


def _names_attributes(text: str) -> bool:
    plain, at, _ = text.partition("@")
    parts = plain.split(".")
    if at and not _PRIVATE.fullmatch(f"{parts.pop()}@-"):
        return False
    return all(tag_of(part) is not None or _is_public(part) for part in parts)


def _is_public(part: str) -> bool:
    return bool(_TAG.fullmatch(part)) and public_vr(int(part, 16)) != "UN"


def _part(part: str, name: str, creators: Mapping[str, str]) -> str:
    if private := _PRIVATE.fullmatch(part):
        return f"{private[1].upper()}xx{private[2].upper()}@{private[3].strip()}"
    if _TAG.fullmatch(part):
        tag = part.upper()
        if int(tag[3], 16) % 2:
            element = f"{tag[:4]}00{tag[4:6]}"
            if creator := creators.get(element):
                return f"{tag[:4]}xx{tag[6:]}@{creator}"
            how = f"{element}=CREATOR beside it, or {tag[:4]}xx{tag[6:]}@CREATOR"
            raise _unknown(name, f"{part} is private: name its creator, by {how}")
        return tag
    if _KEYWORD.fullmatch(part) and (number := tag_of(part)) is not None:
        return f"{number:08X}"
    raise _unknown(name, f"no attribute has the name {part[:64]!r}" if part else "a part of the path is empty")


def _unknown(name: str, why: str) -> InvalidQueryError:
    return InvalidQueryError(f"{name[:128]}: {why}", attribute=name)


def vr_of(path: str) -> str:
    """Return the VR of a path's last attribute; text for what no dictionary knows."""
    last = parts_of(path)[-1]
    if "@" in last:
        tag, _, creator = last.partition("@")
        return _one(private_vr(int(f"{tag[:4]}00{tag[6:]}", 16), creator))
    if last in VR_OF:
        return VR_OF[last]
    return _one(public_vr(int(last, 16)))


def _one(vr: str) -> str:
    return "LO" if vr == "UN" else vr
