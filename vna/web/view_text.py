"""Values of the DICOM JSON model as a person reads them."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote, unquote, urlencode

from vna.dicom.dictionary import uid_name as registered_name
from vna.domain.origin import Origin, iso_utc
from vna.domain.records import Attributes

PROTOCOLS = {"dimse": "C-STORE", "stow": "STOW-RS", "import": "import"}
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?")


def first(attributes: Attributes, tag: str) -> str:
    """Return the first value of an attribute as text, empty if there is none."""
    values = attributes.get(tag, {}).get("Value") or [None]
    value = values[0]
    if isinstance(value, dict):
        return str(value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic") or "")
    return "" if value is None else str(value)


def several(attributes: Attributes, tag: str) -> list[str]:
    """Return the values of an attribute as texts."""
    return [str(value) for value in attributes.get(tag, {}).get("Value") or [] if value is not None]


def number(attributes: Attributes, tag: str) -> int:
    """Return a count, 0 if there is none."""
    try:
        return int(float(first(attributes, tag) or 0))
    except ValueError:
        return 0


def name(text: str) -> str:
    """Return a person name (PS3.5 6.2.1) as ``Family, Given Middle``."""
    family, _, rest = text.partition("^")
    parts = [part.strip() for part in rest.split("^")]
    given = " ".join(part for part in parts[:2] if part)
    return ", ".join(part for part in (family.strip(), given) if part) or text.strip("^ ")


def date(text: str) -> str:
    """Return a date ``YYYYMMDD`` as ``YYYY-MM-DD``, anything else as it is."""
    found = _DATE.fullmatch(text)
    return "-".join(found.groups()) if found else text


def time(text: str) -> str:
    """Return a time ``HHMMSS.ffffff`` as ``HH:MM``, anything else as it is."""
    found = _TIME.match(text)
    return f"{found[1]}:{found[2]}" if found and found[2] else text


def grouped(count: float) -> str:
    """Return a number with narrow blanks between thousands, which no language takes for a decimal sign."""
    return f"{count:,.0f}".replace(",", "\u202f")


def segment(text: str) -> str:
    """Return a text as one segment of a URL's path."""
    return quote(text, safe="")


def query(**parameters: Any) -> str:
    """Return parameters as the query of a URL; those that are empty are left out."""
    return urlencode({key: value for key, value in parameters.items() if value not in ("", None, ())}, doseq=True)


def asked(url: str) -> str:
    """Return a URL as a person reads it: its query decoded, control characters left as they are encoded."""
    plain = unquote(url.replace("+", " "))
    return plain if plain.isprintable() else url


def mark(content: bytes) -> str:
    """Return a short mark of a content, another one for another content."""
    return hashlib.sha256(content).hexdigest()[:12]


def uid_name(uid: str) -> str:
    """Return a UID with its registered name (PS3.6 A), where it has one."""
    known = registered_name(uid)
    return f"{known} ({uid})" if known else uid


def moment(microseconds: int) -> str:
    """Return microseconds since 1970 as ``YYYY-MM-DD HH:MM:SS UTC``."""
    return iso_moment(iso_utc(microseconds))


def iso_moment(text: str) -> str:
    """Return an ISO 8601 time in UTC as ``YYYY-MM-DD HH:MM:SS UTC``, empty for none."""
    return f"{text[:19].replace('T', ' ')} UTC" if text else ""


def sender(origin: Origin) -> str:
    """Return who sent an instance, and how."""
    who = origin.calling or "unnamed"
    return f"{who} at {origin.address or 'this host'}, by {PROTOCOLS.get(origin.protocol, origin.protocol)}"
