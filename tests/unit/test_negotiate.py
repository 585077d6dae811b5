from __future__ import annotations

import pytest

from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import Offer, check_charset, negotiate, parse_media_types

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
        # The most specific range has the weight (PS3.18 8.7.8.1).
        ("application/*, application/dicom;q=0.2", JSON, ()),
        ("application/dicom+json;q=0.4, application/*;q=0.3, */*;q=0.5", RELATED, ()),
        ('multipart/*;q=0.9, multipart/related;type="application/dicom";q=0.1', XML, ()),
    ],
)
def test_choice(accept: str, offer: Offer, syntaxes: tuple[str, ...]) -> None:
    choice = negotiate(accept, OFFERS)
    assert (choice.offer, choice.syntaxes) == (offer, syntaxes)


def test_of_several_values_the_first_that_names_something_there_is() -> None:
    assert negotiate(("application/dicom+json", "*/*"), OFFERS).offer == JSON
    assert negotiate(("image/png", "application/dicom"), OFFERS).offer == SINGLE
    with pytest.raises(HttpError, match="image/png, text/plain"):
        negotiate(("image/png", "text/plain"), OFFERS)


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "latin1;q=0.4, utf-8", '"ISO_IR 192"', None])
def test_a_character_set_that_answers_are_in(charset: str | None) -> None:
    check_charset(charset)


@pytest.mark.parametrize("charset", ["", "latin1", "utf-16, ISO_IR 100"])
def test_a_character_set_that_no_answer_is_in(charset: str) -> None:
    with pytest.raises(HttpError) as caught:
        check_charset(charset)
    assert caught.value.status == 400


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
