"""Every real file is read as pydicom reads it, and every bulk value lies where the header says."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.support.real_files import real_file, real_files
from vna.dicom.header import Bulk
from vna.dicom.reader import read_dataset, read_header
from vna.domain.errors import UnparsableError

# Broken on purpose; pydicom loses more of them than this reader does.
_PYDICOM_LOSES = {"bad_sequence.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm", "no_meta.dcm"}


def _pydicom(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def _pydicom_json(dataset: pydicom.Dataset) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json.loads(json.dumps(dataset.to_json_dict(suppress_invalid_tags=True)))


def _plain(value: Any) -> Any:
    """Take away what is not compared: padding of each value, an empty item, 5.0 for 5."""
    if isinstance(value, str):
        return value.strip(" \0") or None
    if isinstance(value, dict):
        return {name: part.strip() for name, part in value.items() if part.strip()} or None
    return value


def _values(element: dict[str, Any]) -> list[Any]:
    values = [_plain(value) for value in element.get("Value", [])]
    return values if any(value is not None for value in values) else []


def _compare(ours: dict[str, Any], theirs: dict[str, Any], path: str, seen: Counter[str]) -> list[str]:
    wrong = [f"{path}{tag} is missing" for tag in theirs.keys() - ours.keys()]
    # pydicom gives no JSON for an element with a value that is illegal.
    seen["only here"] += len(ours.keys() - theirs.keys())
    for tag in ours.keys() & theirs.keys():
        mine, other = ours[tag], theirs[tag]
        if "BulkDataURI" in mine:
            seen["bulk"] += 1
            continue
        if mine["vr"] != other["vr"]:
            wrong.append(f"{path}{tag} {mine['vr']} is {other['vr']} for pydicom")
        elif mine["vr"] == "SQ":
            items, others = mine.get("Value", []), other.get("Value", [])
            if len(items) != len(others):
                wrong.append(f"{path}{tag} has {len(items)} items, not {len(others)}")
            for number, (left, right) in enumerate(zip(items, others, strict=False)):
                wrong += _compare(left, right, f"{path}{tag}.{number}.", seen)
        elif "InlineBinary" in mine:
            if mine["InlineBinary"] != other.get("InlineBinary"):
                wrong.append(f"{path}{tag} is another InlineBinary")
        elif _values(mine) != _values(other):
            wrong.append(f"{path}{tag} {mine['vr']}: {_values(mine)!r} is not {_values(other)!r}")
        seen[mine["vr"]] += 1
    return wrong


def test_every_real_file_reads_as_pydicom_reads_it() -> None:
    wrong = []
    seen: Counter[str] = Counter()
    for path in real_files():
        if path.name in _PYDICOM_LOSES:
            continue
        dataset = _pydicom(path)
        attributes = read_dataset(path).attributes
        assert set(attributes) == {f"{int(tag):08X}" for tag in dataset.keys()}, path.name  # noqa: SIM118 - of raw elements
        found = _compare(attributes, _pydicom_json(dataset), "", seen)
        if not dataset.file_meta.get("TransferSyntaxUID", "").endswith(".1.2.2"):
            wrong += [f"{path.name}: {text}" for text in found]
        else:
            # InlineBinary is little endian (PS3.18 F.2.7); pydicom gives big endian words as they are.
            wrong += [f"{path.name}: {text}" for text in found if "another InlineBinary" not in text]
    assert not wrong
    assert set(seen) >= {
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "OB",
        "OW",
        "PN",
        "SH",
        "SL",
        "SQ",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "UN",
        "US",
        "UT",
    }
    assert seen.total() > 20_000
    assert seen["only here"] < 20


def _bulk_element(dataset: pydicom.Dataset, path: str) -> Any:
    steps = path.split(".")
    for tag, number in zip(steps[0:-1:2], steps[1:-1:2], strict=True):
        dataset = dataset[int(tag, 16)].value[int(number)]
    return dataset[int(steps[-1], 16)].value


def _at(data: bytes, bulk: Bulk) -> bytes:
    return data[bulk.offset : bulk.offset + bulk.length]


def test_every_bulk_value_of_real_files_lies_where_the_header_says() -> None:
    checked = encapsulated = 0
    for path in real_files():
        header = read_dataset(path)
        if header.deflated or path.name in _PYDICOM_LOSES:
            continue
        data = path.read_bytes()
        dataset = _pydicom(path)
        for where, bulk in header.bulk.items():
            value = _bulk_element(dataset, where)
            assert _at(data, bulk) == value, (path.name, where)
            checked += 1
            if bulk.encapsulated:
                encapsulated += 1
                fragments = list(pydicom.encaps.generate_fragments(value[8 + int.from_bytes(value[4:8], "little") :]))
                assert [data[at : at + length] for at, length in bulk.fragments] == fragments
    assert checked > 150
    assert encapsulated > 30


def test_frames_of_real_files_are_those_that_the_offset_table_tells() -> None:
    told = 0
    for path in real_files():
        header = read_dataset(path)
        bulk = header.bulk.get("7FE00010")
        if bulk is None or not bulk.frames:
            continue
        dataset = _pydicom(path)
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        assert len(bulk.frames) == count, path.name
        assert sum(bulk.frames) == len(bulk.fragments)
        frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=count))
        data = path.read_bytes()
        at = 0
        for frame, fragments in zip(frames, bulk.frames, strict=True):
            parts = bulk.fragments[at : at + fragments]
            assert b"".join(data[start : start + length] for start, length in parts) == frame
            at += fragments
        told += 1
    assert told >= 5


def test_a_deflated_real_file_has_its_pixels_in_the_inflated_data_set() -> None:
    import zlib

    path = real_file("image_dfl.dcm")
    header = read_header(path)
    assert header.deflated
    raw = path.read_bytes()
    start = 132 + 12 + int.from_bytes(raw[140:144], "little")
    inflated = zlib.decompressobj(-15).decompress(raw[start:])
    bulk = header.bulk["7FE00010"]
    assert inflated[bulk.offset - start :][: bulk.length] == _pydicom(path).PixelData


def test_real_files_that_are_no_instances_say_why() -> None:
    reasons: Counter[str] = Counter()
    for path in real_files():
        try:
            read_header(path)
        except UnparsableError as error:
            reasons[str(error)] += 1
        else:
            reasons["read"] += 1
    assert reasons["read"] >= 250
    assert reasons["a DICOMDIR is not an instance"] >= 7
    assert set(reasons) == {
        "read",
        "a DICOMDIR is not an instance",
        "SOPClassUID (0008,0016) is missing or empty",
        "StudyInstanceUID (0020,000D) is missing or empty",
    }


@pytest.mark.parametrize(
    ("name", "alphabetic", "others"),
    [
        ("chrH31.dcm", "Yamada^Tarou", {"Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("chrH32.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ", {"Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("chrI2.dcm", "Hong^Gildong", {"Ideographic": "洪^吉洞", "Phonetic": "홍^길동"}),
        ("chrX1.dcm", "Wang^XiaoDong", {"Ideographic": "王^小東"}),
        ("chrX2.dcm", "Wang^XiaoDong", {"Ideographic": "王^小东"}),
        ("chrKoreanMulti.dcm", "김희중", {}),
        ("chrArab.dcm", "قباني^لنزار", {}),
        ("chrGreek.dcm", "Διονυσιος", {}),
        ("chrRuss.dcm", "Люкceмбypг", {}),  # noqa: RUF001 - as the file has it
        ("chrHbrw.dcm", "שרון^דבורה", {}),
        ("chrGerm.dcm", "Äneas^Rüdiger", {}),
        ("chrFren.dcm", "Buc^Jérôme", {}),
    ],
)
def test_names_in_the_character_sets_of_the_standards_examples(
    name: str, alphabetic: str, others: dict[str, str]
) -> None:
    header = read_header(real_file(name))
    assert header.attributes["00100010"]["Value"] == [{"Alphabetic": alphabetic, **others}]
    assert not header.warnings
