from __future__ import annotations

import pytest

from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import Offer, negotiate, parse_media_types

RELATED = Offer("application/dicom", related=True)
SINGLE = Offer("application/dicom", related=False)
JSON = Offer("application/dicom+json", related=False)
XML = Offer("application/dicom+xml", related=True)
OFFERS = (RELATED, SINGLE, JSON, XML, Offer("image/jls", related=True))


@pytest.mark.parametrize(
    ("accept", "offer", "syntaxes"),
    [
        ("", RELATED, ()),
        ("*/*", RELATED, ()),
        ("application/dicom", SINGLE, ()),
        ("application/*", SINGLE, ()),
        ("multipart/related", RELATED, ()),
        ("multipart/*", RELATED, ()),
        ('multipart/related; type="application/dicom+xml"', XML, ()),
        ("multipart/related; type=application/dicom+xml", XML, ()),
        ("Multipart/Related; Type=Application/DICOM+XML", XML, ()),
        ("application/dicom; transfer-syntax=*", SINGLE, ("*",)),
        ('multipart/related;type="application/dicom";transfer-syntax="1.2.3"', RELATED, ("1.2.3",)),
        ("image/png, application/dicom+json", JSON, ()),
        ("application/dicom;q=0.5, application/dicom+json;q=0.9", JSON, ()),
        ("application/dicom;q=0.9;transfer-syntax=1.1, application/dicom;transfer-syntax=1.2", SINGLE, ("1.2", "1.1")),
        ("application/dicom;q=nonsense, application/dicom+json;q=0.1", JSON, ()),
        ("application/dicom;q=0, */*;q=0.1", RELATED, ()),
        ('multipart/related;type="application/dicom";q=0, */*', SINGLE, ()),
        ('multipart/related; type="application/dicom"; note="a,b;c\\"d"; transfer-syntax=*', RELATED, ("*",)),
        ('multipart/related; type="image/x-jls"; transfer-syntax=1.2', Offer("image/jls", related=True), ("1.2",)),
        (",,; , application/dicom+json", JSON, ()),
    ],
)
def test_choice(accept: str, offer: Offer, syntaxes: tuple[str, ...]) -> None:
    choice = negotiate(accept, OFFERS)
    assert (choice.offer, choice.syntaxes) == (offer, syntaxes)


@pytest.mark.parametrize(
    "accept", ["image/png", "application/dicom;q=0", "text/*", "nonsense", "application/dicom+xml"]
)
def test_what_is_not_to_be_had_is_refused_and_the_forms_there_are_named(accept: str) -> None:
    with pytest.raises(HttpError) as caught:
        negotiate(accept, OFFERS)
    assert caught.value.status == 406
    for offer in OFFERS:
        assert str(offer) in caught.value.detail


def test_a_list_keeps_its_order_and_parameters() -> None:
    first, second = parse_media_types('a/b; X="1, 2" ;q=0.3 , c/d')
    assert (first.name, first.parameters, first.quality) == ("a/b", {"x": "1, 2", "q": "0.3"}, 0.3)
    assert (second.name, second.parameters, second.quality) == ("c/d", {}, 1.0)


def test_a_very_long_field_costs_little() -> None:
    assert len(parse_media_types("a/b," * 1_000_000)) <= 2049
    assert parse_media_types(";" * 100_000) == []
    assert parse_media_types('a/b;c="' + "\\" * 100_000)[0].name == "a/b"
