"""Transcoding real files: pydicom reads the same attributes and the same pixels before and after."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.pixels import pixel_array

from tests.support.real_files import real_file, real_files
from tests.support.worker import ROOT
from vna.dicom.elements import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, NATIVE
from vna.dicom.part10 import read_head
from vna.dicom.transcode import can_transcode, transcode
from vna.domain.errors import ArchiveError, UnparsableError, UnsupportedError

# What a transcoding may change: layout of colour and what it is called, and what belongs to encapsulation.
PIXEL_TAGS = {0x00280004, 0x00280006, 0x7FE00010, 0x7FE00001, 0x7FE00002}
# Broken on purpose; what is wrong with each is said.
REFUSED = {
    "MR_truncated.dcm": "ends within",
    "rtplan_truncated.dcm": "ends within",
    "JPEG2000-embedded-sequence-delimiter.dcm": "cannot be decoded",
    "JPEG-lossy.dcm": "cannot be decoded",
}
# pydicom sees nothing in this one, whose File Meta Information is cut short; the archive finds the data set.
UNLIKE_PYDICOM = {"emri_small_jpeg_2k_lossless_too_short.dcm"}

NATIVE_FILES = (
    "CT_small.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
    "MR_small_bigendian.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "image_dfl.dcm",
    "liver.dcm",
    "waveform_ecg.dcm",
    "test-SR.dcm",
    "reportsi.dcm",
    "UN_sequence.dcm",
    "nested_priv_SQ.dcm",
    "priv_SQ.dcm",
)
COMPRESSED_FILES = (
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "emri_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "JPEG-LL.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPEG2000.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def run(path: Path, target: str) -> bytes:
    with path.open("rb") as source, transcode(source, target) as result:
        return result.read()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def flat(data_set: Dataset, prefix: str = "") -> dict[str, Any]:
    """Return values by path; numbers of OW turned to little endian, so that they compare across byte orders."""
    found: dict[str, Any] = {}
    for element in data_set:
        path = f"{prefix}{element.tag:08X}"
        if element.tag.element == 0 or (not prefix and element.tag in PIXEL_TAGS):
            continue
        if element.VR == "SQ":
            found[path] = len(element.value)
            for number, item in enumerate(element.value):
                found |= flat(item, f"{path}.{number}.")
        elif (
            element.VR == "OW" and element.tag not in PIXEL_TAGS and not data_set.original_encoding[1] and element.value
        ):
            found[path] = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
        else:
            found[path] = element.value
    return found


@pytest.mark.parametrize("target", sorted(NATIVE))
@pytest.mark.parametrize("name", NATIVE_FILES)
def test_between_native_syntaxes(name: str, target: str) -> None:
    path = real_file(name)
    before, data = pydicom.dcmread(path), run(path, target)
    after = read(data)
    assert after.file_meta.TransferSyntaxUID == target
    assert after.file_meta.MediaStorageSOPInstanceUID == before.file_meta.MediaStorageSOPInstanceUID
    old, new = flat(before), flat(after)
    assert set(old) == set(new)
    # A private attribute that no dictionary has is UN once implicit syntax has forgotten its VR (PS3.5 6.2.2).
    differing = {key for key in old if old[key] != new[key] and not (is_private(key) and target == IMPLICIT_LITTLE)}
    assert not differing, {key: (old[key], new[key]) for key in sorted(differing)[:5]}
    if "PixelData" in before and "Rows" in before:
        np.testing.assert_array_equal(before.pixel_array, after.pixel_array)


def is_private(path: str) -> bool:
    return any(int(part[3], 16) % 2 for part in path.split(".") if len(part) == 8)


@pytest.mark.parametrize("name", NATIVE_FILES)
def test_explicit_little_endian_and_back_loses_no_byte(name: str) -> None:
    first = run(real_file(name), EXPLICIT_LITTLE)
    for between in (EXPLICIT_BIG, DEFLATED, EXPLICIT_LITTLE):
        other = io.BytesIO(first)
        with transcode(other, between) as middle, transcode(middle, EXPLICIT_LITTLE) as again:
            # Values of UN have no known order of bytes: what a dictionary turned, it turns back.
            assert len(again.read()) == len(first), between
            again.seek(0)
            if b"UN\0\0" not in first:
                assert again.read() == first, between


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
@pytest.mark.parametrize("name", COMPRESSED_FILES)
def test_out_of_compressed_syntaxes(name: str, target: str) -> None:
    path = real_file(name)
    before, after = pydicom.dcmread(path), read(run(path, target))
    assert after.file_meta.TransferSyntaxUID == target
    np.testing.assert_array_equal(pixel_array(before), pixel_array(after))
    if before.SamplesPerPixel == 3:
        assert after.PhotometricInterpretation == "RGB"
        assert after.PlanarConfiguration == 0
    old, new = flat(before), flat(after)
    assert {key for key in old if not is_private(key)} == {key for key in new if not is_private(key)}


def test_every_real_file_is_rewritten_or_refused_with_a_reason() -> None:
    done = 0
    for path in real_files():
        try:
            with path.open("rb") as source:
                head = read_head(source)
        except UnparsableError:
            continue
        if not head.study or not can_transcode(head.transfer_syntax, EXPLICIT_LITTLE) or path.stat().st_size > 4 << 20:
            continue
        if path.name in REFUSED:
            with pytest.raises(ArchiveError, match=REFUSED[path.name]):
                run(path, EXPLICIT_LITTLE)
            continue
        data = run(path, EXPLICIT_LITTLE)
        if path.name in UNLIKE_PYDICOM:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                before = pydicom.dcmread(path)
                old = set(flat(before))
            except Exception:  # noqa: BLE001  # pydicom cannot read it: nothing to compare with
                continue
            assert set(flat(read(data))) == old, path.name
        done += 1
    assert done > 150


def test_an_image_within_a_sequence_is_decoded_too() -> None:
    path = real_file("slicethickness_empty_string.dcm")
    icon = read(run(path, EXPLICIT_LITTLE)).IconImageSequence[0]
    assert len(icon.PixelData) == icon.Rows * icon.Columns * icon.BitsAllocated // 8


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnparsableError),
        (b"\0" * 132, UnparsableError),
        (real_file("CT_small.dcm").read_bytes()[:3000], UnparsableError),
        (real_file("JPEG-LL.dcm").read_bytes()[:50000], UnparsableError),
    ],
)
def test_what_is_broken_is_refused(data: bytes, error: type[ArchiveError]) -> None:
    with pytest.raises(error):
        transcode(io.BytesIO(data), EXPLICIT_LITTLE)


def test_nothing_is_compressed() -> None:
    assert not can_transcode(EXPLICIT_LITTLE, "1.2.840.10008.1.2.4.90")
    with pytest.raises(UnsupportedError, match="not compressed into"):
        transcode(io.BytesIO(b""), "1.2.840.10008.1.2.4.90")


def test_pixels_that_become_too_long_are_refused() -> None:
    with real_file("JPEG2000.dcm").open("rb") as source, pytest.raises(UnsupportedError, match="exceeds 1000 bytes"):
        transcode(source, EXPLICIT_LITTLE, max_pixel_bytes=1000)


def test_sequences_without_end_do_not_exhaust_the_stack() -> None:
    head = run(real_file("CT_small.dcm"), EXPLICIT_LITTLE)
    start = head.index(b"\x08\0\x05\0CS")
    deep = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 5000
    with pytest.raises(UnparsableError, match="deep"):
        transcode(io.BytesIO(head[:start] + deep), EXPLICIT_LITTLE)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    """A GiB of pixels goes from implicit to big endian in a process that may have half of that."""
    size = 1 << 30
    big = tmp_path / "big.dcm"
    data_set = pydicom.dcmread(real_file("MR_small_implicit.dcm"))
    del data_set.PixelData
    data_set.save_as(big)
    with big.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    program = (
        "import sys\n"
        "from tests.support.memory import own_peak\n"
        "from vna.dicom.transcode import transcode\n"
        "with open(sys.argv[1], 'rb') as source, transcode(source, '1.2.840.10008.1.2.2') as result:\n"
        "    print(result.seek(0, 2), own_peak())\n"
    )
    command = [sys.executable, "-c", program, str(big)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env={"TMPDIR": str(tmp_path)})
    length, peak = (int(text) for text in done.stdout.split())
    assert length > size
    assert peak < 300 << 20
