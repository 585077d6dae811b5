"""Every real image that pydicom can decode is drawn, from the very pixels that pydicom sees."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import pixel_array

from tests.integration.test_real_frames import REFUSED
from tests.support.real_files import real_files
from vna.domain.errors import ArchiveError, UnparsableError
from vna.domain.origin import Origin
from vna.ingest.document import build, parse_metadata
from vna.retrieve.limited import LimitedPool, Limits
from vna.retrieve.render import picture, pixels_of
from vna.retrieve.render_request import Options
from vna.retrieve.render_source import Source
from vna.store.folder import FolderStore

LARGEST = 1 << 20


def source_of(path: Path, store: FolderStore, pool: LimitedPool) -> Source:
    raw = path.read_bytes()
    document = build(path, hashlib.sha256(raw).hexdigest(), len(raw), 1, Origin("import"))
    store.put(document.instance.key, raw)
    return Source(store, parse_metadata(document.metadata), pool)


def first_frame(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        array = pixel_array(data_set, index=0)
    return array, (data_set.Columns, data_set.Rows)


def test_every_image(tmp_path: Path) -> None:
    store, pool = FolderStore(tmp_path), LimitedPool(Limits())
    drawn, wrong = 0, []
    for path in real_files():
        if path.stat().st_size > LARGEST:
            continue
        try:
            expected, size = first_frame(path)
        except Exception:  # noqa: BLE001  # pydicom sees no image in it
            continue
        try:
            job = source_of(path, store, pool)._job(Options(), (1,))
            array, _photometric = pixels_of(job.frames[0], job)
            made = Image.open(io.BytesIO(picture(job)))
        except UnparsableError:
            continue  # no instance: it has no UIDs
        except ArchiveError as error:
            if REFUSED.get(path.name, "\0") not in str(error):
                wrong.append(f"{path.name}: {error}")
            continue
        drawn += 1
        if not np.array_equal(array, expected):
            wrong.append(f"{path.name}: other pixels than pydicom's: {array.dtype} {array.shape}, {expected.dtype}")
        if made.size != size:
            wrong.append(f"{path.name}: {made.size} and not {size}")
    store.close()
    pool.close()
    assert not wrong, "\n".join(wrong)
    assert drawn > 100
