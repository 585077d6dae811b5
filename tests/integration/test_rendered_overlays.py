"""Overlay planes lie over pictures as dcmtk draws them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from tests.integration.test_rendered_files import source_of
from tests.support.real_files import real_file
from vna.retrieve.limited import LimitedPool, Limits
from vna.retrieve.render_request import Options
from vna.store.folder import FolderStore

Draw = Callable[..., np.ndarray]
SIZE = (12, 10)  # rows, columns of the planes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Draw]:
    store, pool = FolderStore(tmp_path_factory.mktemp("overlays")), LimitedPool(Limits())

    def draw(path: Path, frame: int = 1, *, overlays: bool = True) -> np.ndarray:
        options = Options("image/png", overlays=overlays)
        return np.asarray(Image.open(io.BytesIO(source_of(path, store, pool).picture(options, (frame,)))))

    yield draw
    pool.close()
    store.close()


def by_dcmtk(path: Path, target: Path, frame: int = 1) -> np.ndarray:
    has_window = "WindowCenter" in pydicom.dcmread(path, stop_before_pixels=True)
    window = ["+Wi", "1"] if has_window else ["+Wm"]
    subprocess.run(["/usr/bin/dcm2pnm", "+on", "+F", str(frame), *window, path, target], check=True)
    return np.asarray(Image.open(target))


def with_planes(target: Path) -> Path:
    """Write an image with a plane that begins outside of it, and one of two frames over the second and third."""
    data = pydicom.dcmread(real_file("emri_small.dcm"))
    rng = np.random.default_rng(1)
    for group, frames, origin in ((0x6000, 0, (-3, 60)), (0x6002, 2, (5, 7)), (0x6004, 0, (1, 1))):
        bits = rng.integers(0, 2, (max(1, frames), *SIZE), np.uint8)
        packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
        data.add_new((group, 0x0010), "US", SIZE[0])
        data.add_new((group, 0x0011), "US", SIZE[1])
        # The third is a region of interest, which is not drawn.
        data.add_new((group, 0x0040), "CS", "R" if group == 0x6004 else "G")
        data.add_new((group, 0x0050), "SS", list(origin))
        data.add_new((group, 0x0100), "US", 1)
        data.add_new((group, 0x0102), "US", 0)
        if frames:
            data.add_new((group, 0x0015), "IS", frames)
            data.add_new((group, 0x0051), "US", 2)
        data.add_new((group, 0x3000), "OW", packed + bytes(len(packed) % 2))
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(target)
    return target


@pytest.mark.parametrize("name", ["MR-SIEMENS-DICOM-WithOverlays.dcm", "examples_overlay.dcm"])
def test_real_planes_are_drawn_as_by_dcmtk(drawn: Draw, name: str, tmp_path: Path) -> None:
    path = real_file(name)
    ours, plain, theirs = drawn(path), drawn(path, overlays=False), by_dcmtk(path, tmp_path / "out.png")
    ours, plain = (each if each.ndim == theirs.ndim else each[..., 0] for each in (ours, plain))
    assert (ours != plain).any()
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_planes_lie_over_the_frames_and_pixels_that_they_are_of(drawn: Draw, tmp_path: Path) -> None:
    path = with_planes(tmp_path / "planes.dcm")
    data = pydicom.dcmread(path)
    outside = data.overlay_array(0x6000)
    both = [data[0x6002, 0x3000].value]
    bits = np.unpackbits(np.frombuffer(both[0], np.uint8), bitorder="little")[: 2 * SIZE[0] * SIZE[1]]
    planes = bits.reshape(2, *SIZE)
    for frame in (1, 2, 3, 4):
        expected = drawn(path, frame, overlays=False).copy()
        rows, columns = expected.shape
        # Its first row is the fourth above the image; some of its columns lie right of it.
        seen = outside[4:, : columns - 59]
        expected[: seen.shape[0], 59:][seen == 1] = 255
        if frame in {2, 3}:
            expected[4 : 4 + SIZE[0], 6 : 6 + SIZE[1]][planes[frame - 2] == 1] = 255
        assert (drawn(path, frame) == expected).all(), frame
        assert rows == 64
