"""Content negotiation (PS3.18 8.7; RFC 9110 12.5.1): what a client accepts, and what it gets.

A DICOMweb client names the type of the parts of a multipart answer in the
``type`` parameter, and the transfer syntaxes that it accepts in
``transfer-syntax``, ``*`` standing for the one that the instance is stored in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vna.gateways.dicomweb.errors import HttpError

STORED = "*"
"""Transfer syntax: as the instance is stored."""

# RFC 9110 5.6: a token, or a quoted string with backslash escapes.
_PARAMETER = re.compile(r'\s*;\s*(?:([!#$%&\'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')
_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+)")
_MAX_LENGTH = 8192
# Names of before they were registered, which clients still ask by.
_ALIASES = {"image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle", "video/mpeg2": "video/mpeg"}


_CHARSETS = frozenset({"utf-8", "iso_ir 192"})


def check_charset(asked: str | None) -> None:
    """Refuse a list of character sets that has none that answers are in: UTF-8 (PS3.18 8.3.3.2, 8.8).

    Raises ``HttpError`` with 400.
    """
    if asked is None:
        return
    names = {part.partition(";")[0].strip().strip('"').lower() for part in asked.split(",")}
    if not names & _CHARSETS:
        raise HttpError(400, "invalid-query", f"charset: answers are in UTF-8, not in {asked[:100]!r}")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or media range with its parameters, names and types in lower case."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """The weight ``q``, 1 unless given; what is no number counts as 0."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 0.0

    @property
    def is_related(self) -> bool:
        """Whether it asks for parts."""
        return self.name in {"multipart/related", "multipart/*"}

    @property
    def content(self) -> str:
        """The type of the parts for a multipart, otherwise the type itself; ``*/*`` where it is left open."""
        name = self.parameters.get("type", "*/*").lower() if self.is_related else self.name
        return _ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class Offer:
    """One form that a resource can be had in."""

    content: str
    related: bool

    def __str__(self) -> str:
        return f'multipart/related; type="{self.content}"' if self.related else self.content


@dataclass(frozen=True, slots=True)
class Choice:
    """What was agreed on.

    ``syntaxes`` lists the transfer syntaxes that the client accepts for it, the
    best first; empty if it named none.
    """

    offer: Offer
    syntaxes: tuple[str, ...] = ()


def parse_media_types(text: str) -> list[MediaType]:
    """Read the value of an Accept or Content-Type field; what cannot be read is passed over."""
    return list(_parse(text[:_MAX_LENGTH]))


def _parse(text: str) -> Iterator[MediaType]:
    position = 0
    while position < len(text):
        if not (found := _TYPE.match(text, position)):
            comma = text.find(",", position)
            if comma < 0:
                return
            position = comma + 1
            continue
        position = found.end()
        parameters: dict[str, str] = {}
        while more := _PARAMETER.match(text, position):
            position = more.end()
            name, quoted, plain = more.groups()
            if name:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                parameters.setdefault(name.lower(), value)
        yield MediaType(found[1].lower(), parameters)
        comma = text.find(",", position)
        position = len(text) if comma < 0 else comma + 1


def negotiate(accept: str | Sequence[str], offers: Sequence[Offer]) -> Choice:
    """Choose the form of an answer (PS3.18 8.7.8).

    Parameters
    ----------
    accept
        Value of the Accept field; empty stands for anything. Or several values,
        of which the first that names a form there is counts: that of the
        ``accept`` query parameter (PS3.18 8.3.3.1), then that of the field.
    offers
        The forms there are, the preferred first.

    Returns
    -------
    Choice
        By weight, then by the order of the client, then by that of the offers.
        A form has the weight of the most specific range that it is in.

    Raises
    ------
    HttpError
        406, naming the forms there are.
    """
    values = [accept] if isinstance(accept, str) else accept
    for value in values:
        ranges = parse_media_types(value) if value.strip() else [MediaType("*/*")]
        if choice := _choice(ranges, offers):
            return choice
    listed = ", ".join(str(offer) for offer in offers)
    asked = ", ".join(values)[:200]
    raise HttpError(406, "not-acceptable", f"the resource is not to be had as {asked!r}; it can be had as {listed}")


def _choice(ranges: Sequence[MediaType], offers: Sequence[Offer]) -> Choice | None:
    ranked: list[tuple[float, int, int, Offer]] = []
    for order, offer in enumerate(offers):
        fitting = [(_fit(each, offer), each.quality, -place) for place, each in enumerate(ranges) if _fit(each, offer)]
        if fitting:
            _specific, quality, place = max(fitting)
            ranked.append((-quality, -place, order, offer))
    if not ranked or not (best := min(ranked, key=lambda each: each[:3]))[0]:
        return None
    wanted = sorted((each for each in ranges if each.quality > 0), key=lambda item: -item.quality)
    return Choice(best[3], _syntaxes(wanted, best[3]))


def _syntaxes(ranges: Sequence[MediaType], offer: Offer) -> tuple[str, ...]:
    named = [item.parameters.get("transfer-syntax", "").strip() for item in ranges if _fit(item, offer)]
    return tuple(dict.fromkeys(syntax for syntax in named if syntax))


def _fit(wanted: MediaType, offer: Offer) -> int:
    """Return how specifically a range names an offer, 0 if it does not at all."""
    if wanted.name == "*/*":
        return 1
    if wanted.is_related != offer.related:
        return 0
    content = wanted.content
    if content == offer.content:
        return 4
    main, _, sub = content.partition("/")
    if content != "*/*" and not (sub == "*" and offer.content.startswith(main + "/")):
        return 0
    return 2 if content == "*/*" else 3
