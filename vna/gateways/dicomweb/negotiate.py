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


def negotiate(accept: str, offers: Sequence[Offer]) -> Choice:
    """Choose the form of an answer.

    Parameters
    ----------
    accept
        Value of the Accept field (or of the ``accept`` query parameter, PS3.18
        8.3.3.1); empty stands for anything.
    offers
        The forms there are, the preferred first.

    Returns
    -------
    Choice
        By weight, then by the order of the client, then by that of the offers.

    Raises
    ------
    HttpError
        406, naming the forms there are.
    """
    ranges = parse_media_types(accept) if accept.strip() else [MediaType("*/*")]
    ranked = sorted(ranges, key=lambda item: -item.quality)
    refused = {(item.content, item.is_related) for item in ranked if item.quality == 0}
    wanted = [item for item in ranked if item.quality > 0]
    for item in wanted:
        for offer in offers:
            if _fits(item, offer) and (offer.content, offer.related) not in refused:
                return Choice(offer, _syntaxes(wanted, offer))
    listed = ", ".join(str(offer) for offer in offers)
    raise HttpError(
        406, "not-acceptable", f"the resource is not to be had as {accept[:200]!r}; it can be had as {listed}"
    )


def _syntaxes(ranges: Sequence[MediaType], offer: Offer) -> tuple[str, ...]:
    named = [item.parameters.get("transfer-syntax", "").strip() for item in ranges if _fits(item, offer)]
    return tuple(dict.fromkeys(syntax for syntax in named if syntax))


def _fits(wanted: MediaType, offer: Offer) -> bool:
    if wanted.name == "*/*":
        return True
    if wanted.is_related != offer.related:
        return False
    content = wanted.content
    if content in {"*/*", offer.content}:
        return True
    main, _, sub = content.partition("/")
    return sub == "*" and offer.content.startswith(main + "/")
