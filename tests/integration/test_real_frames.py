"""Every frame of every real image, read from the object store by ranges, has the pixels that pydicom sees."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from tests.support.real_files import real_files
from vna.domain.errors import ArchiveError, UnparsableError
from vna.domain.origin import Origin
from vna.ingest.document import build, parse_metadata
from vna.retrieve.frames import Frames
from vna.store.folder import FolderStore

# What pydicom reads as one image and the archive refuses, or the other way round, each with its reason.
REFUSED = {
    "MR_truncated.dcm": "it has 0",  # the only frame is not whole
    "JPEG2000-embedded-sequence-delimiter.dcm": "cannot be decoded",
    "JPEG-lossy.dcm": "cannot be decoded",
}


def native_frames(data_set: Dataset) -> list[bytes]:
    array = data_set.pixel_array
    array = array if int(data_set.get("NumberOfFrames") or 1) > 1 else array[np.newaxis]
    if data_set.BitsAllocated == 1:
        return [np.packbits(frame.reshape(-1), bitorder="little").tobytes() for frame in array]
    syntax = data_set.file_meta.TransferSyntaxUID
    compressed = syntax.is_encapsulated
    if not compressed and syntax.is_little_endian:
        # Native pixels are not interpreted: pydicom's array would have colours converted and unused bits cleared.
        size = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated // 8
        size = size * 2 // 3 if data_set.PhotometricInterpretation == "YBR_FULL_422" else size
        return [data_set.PixelData[start : start + size] for start in range(0, len(array) * size, size)]
    if data_set.get("PlanarConfiguration") == 1 and data_set.SamplesPerPixel > 1 and not compressed:
        array = np.moveaxis(array, -1, 1)
    return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in array]


def frames_of(path: Path, store: FolderStore) -> Frames:
    raw = path.read_bytes()
    document = build(path, hashlib.sha256(raw).hexdigest(), len(raw), 1, Origin("import"))
    store.put(document.instance.key, raw)
    return Frames(store, parse_metadata(document.metadata))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_frame(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    images = 0
    wrong: list[str] = []
    for path in real_files():
        if path.stat().st_size > 3 << 20:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data_set = pydicom.dcmread(path, force=True)
                expected = native_frames(data_set)
        except Exception:  # noqa: BLE001  # pydicom sees no image in it
            continue
        try:
            frames = frames_of(path, store)
            got = [b"".join(frames.native(number)) for number in range(1, max(frames.count, 1) + 1)]
        except UnparsableError:
            continue  # no instance: it has no UIDs
        except ArchiveError as error:
            if REFUSED.get(path.name, "\0") not in str(error):
                wrong.append(f"{path.name}: {error}")
            continue
        images += 1
        if got != expected:
            differing = [n for n, (ours, theirs) in enumerate(zip(got, expected, strict=False), 1) if ours != theirs]
            sizes = f"{len(got[0])} and {len(expected[0])} bytes"
            syntax = data_set.file_meta.get("TransferSyntaxUID")
            wrong.append(f"{path.name} ({syntax}): {len(got)} and {len(expected)} frames, {sizes}, {differing[:4]}")
    store.close()
    assert not wrong, "\n".join(wrong)
    assert images > 100
