"""The metadata document holds what the index needs, over every real file."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import orjson
import pydicom
import pytest

from tests.support.dicom_bytes import element, instance, item
from tests.support.real_files import real_file, real_files
from vna.dicom.reader import read_dataset, read_header
from vna.domain.errors import IntegrityError, NewerVersionError, UnparsableError
from vna.domain.identity import InstanceUids, object_key
from vna.domain.origin import Origin
from vna.ingest import document as documents
from vna.ingest.document import Document, build, parse_metadata, rebuild
from vna.normalise.pipeline import normalise

ORIGIN = Origin("dimse", "CT1", "VNA", "127.0.0.1")


def _build(path: Path) -> Document:
    data = path.read_bytes()
    return build(path, hashlib.sha256(data).hexdigest(), len(data), 1_700_000_000_000_000, ORIGIN)


def test_every_real_instance_is_rebuilt_from_its_document_alone() -> None:
    built = 0
    for path in real_files():
        try:
            document = _build(path)
        except UnparsableError:
            continue
        assert rebuild(document.metadata) == document.instance, path
        header = parse_metadata(document.metadata).header
        assert header == read_header(path), path
        view = normalise(header.attributes)
        assert normalise(view.attributes).changes == (), path
        built += 1
    assert built >= 250


def test_the_normalised_view_of_every_real_file_is_json_that_pydicom_reads() -> None:
    read = 0
    for path in real_files():
        view = normalise(read_dataset(path).attributes).attributes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.Dataset.from_json(view, lambda _tag, _vr, _uri: b"")
        assert {f"{int(tag):08X}" for tag in found.keys()} == set(view), path  # noqa: SIM118 - of raw elements
        read += 1
    assert read >= 280


def test_what_is_indexed_of_a_ct() -> None:
    path = real_file("CT_small.dcm")
    found = _build(path).instance
    assert found.uids == InstanceUids(
        "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
        "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
        "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
    )
    assert found.key == object_key(found.uids, found.digest)
    assert found.sop_class == "1.2.840.10008.5.1.4.1.1.2"
    assert found.transfer_syntax == "1.2.840.10008.1.2.1"
    assert found.origin == ORIGIN
    assert found.terms["00100010"] == ("compressedsamples^ct1",)
    assert found.terms["00080030"] == ("072730.000000",)
    assert found.terms["0043xx4E@GEMS_PARM_01"] == ("10.60061",)
    assert "7FE00010" not in found.attributes
    assert {"compressedsamples", "ct1", "1ct1", "ct"} <= set(found.words)


def test_the_document_says_what_was_changed_and_what_was_wrong(tmp_path: Path) -> None:
    path = tmp_path / "odd.dcm"
    content = element(0x00080020, "DA", b"2024.01.02") + element(0x00100010, "PN", b"M\xfcller, Anna")
    path.write_bytes(instance(content))
    document = _build(path)
    plain = orjson.loads(document.metadata)
    assert plain["version"] == 1
    assert plain["dicom"]["00080020"]["Value"] == ["2024.01.02"]
    assert plain["changes"] == [
        {"path": "00080020", "before": "2024.01.02", "after": "20240102", "rule": "dates"},
        {
            "path": "00100010",
            "before": {"Alphabetic": "Müller, Anna"},
            "after": {"Alphabetic": "Müller^Anna"},
            "rule": "names",
        },
    ]
    assert any("character set" in text for text in plain["warnings"])
    assert document.instance.attributes["00080020"]["Value"] == ["20240102"]
    assert document.instance.terms["00100010"] == ("muller^anna",)


def test_large_values_are_not_indexed_but_kept_in_the_document(tmp_path: Path) -> None:
    path = tmp_path / "inline.dcm"
    private = element(0x00290010, "LO", b"ACME") + element(0x00291001, "OB", bytes(3000))
    path.write_bytes(instance(private + element(0x00291002, "OB", b"\1\2") + element(0x00420011, "OB", bytes(5000))))
    document = _build(path)
    assert "00291001" not in document.instance.attributes
    assert document.instance.attributes["00291002"] == {"vr": "OB", "InlineBinary": "AQI="}
    assert "00420011" not in document.instance.attributes
    assert "00291001" in parse_metadata(document.metadata).header.attributes
    assert parse_metadata(document.metadata).header.bulk["00420011"].length == 5000


def test_the_deepest_nesting_that_is_read_can_be_written(tmp_path: Path) -> None:
    content = b""
    for _ in range(64):
        content = element(0x00081140, "SQ", item(content))
    path = tmp_path / "deep.dcm"
    path.write_bytes(instance(content))
    document = _build(path)
    assert rebuild(document.metadata) == document.instance
    path.write_bytes(instance(element(0x00081140, "SQ", item(content))))
    with pytest.raises(UnparsableError, match="nested"):
        _build(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b'{"version": 2}', b'{"version": 1}'])
def test_a_document_that_is_none_is_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_metadata(data)
    with pytest.raises(IntegrityError):
        rebuild(data)


def test_a_document_without_its_uids_is_an_integrity_error() -> None:
    content = orjson.loads(_build(real_file("CT_small.dcm")).metadata)
    del content["dicom"]["0020000D"]
    with pytest.raises(IntegrityError, match="StudyInstanceUID"):
        rebuild(orjson.dumps(content))
    content["dicom"]["0020000D"] = ["junk"]
    with pytest.raises(IntegrityError):
        rebuild(orjson.dumps(content))


def test_a_newer_document_is_told_apart() -> None:
    origin = {"protocol": "dimse", "calling": "A", "called": "B", "address": "C", "more": "D"}
    data = orjson.dumps({"version": documents.VERSION + 1, "received_us": 5, "origin": origin})
    with pytest.raises(NewerVersionError, match="written by a newer version of the archive"):
        parse_metadata(data)
    assert documents.reception(data) == (5, Origin("dimse", "A", "B", "C"))
    assert documents.reception(b"{}") is None


def test_documents_of_every_earlier_version_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    old = orjson.loads(_build(real_file("CT_small.dcm")).metadata)
    third = old | {"version": 3}
    renamed = third | {"version": 1, "length": third["size"]}
    del renamed["size"]
    monkeypatch.setattr(documents, "VERSION", 3)
    monkeypatch.setattr(
        documents,
        "_UPGRADES",
        {
            1: lambda content: content | {"octets": content["length"]},
            2: lambda content: content | {"size": content["octets"]},
        },
    )
    expected = parse_metadata(orjson.dumps(third))
    assert parse_metadata(orjson.dumps(renamed)) == expected
    assert parse_metadata(orjson.dumps(renamed | {"version": 2, "octets": third["size"]})) == expected
