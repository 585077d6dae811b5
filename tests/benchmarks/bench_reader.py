"""How long an instance takes from its bytes to its metadata document, step by step.

Run as ``python -m tests.benchmarks.bench_reader``; prints milliseconds of processor an
instance, the best of several rounds.
"""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.support.real_files import real_file
from vna.dicom.reader import read_header
from vna.domain.origin import Origin
from vna.ingest.document import build, rebuild
from vna.normalise.pipeline import normalise
from vna.normalise.terms import terms, words

_ORIGIN = Origin("import")


def _typical_ct() -> bytes:
    """Return a CT of 512x512 with about a hundred attributes, as scanners write them."""
    source = pydicom.dcmread(real_file("CT_small.dcm"))
    data = Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
    for element in source:
        if not element.tag.is_private and element.tag != 0x7FE00010:
            data.add(element)
    for keyword, value in {
        "StudyDescription": "Thorax^1ThoraxRoutine (Adult)",
        "SeriesDescription": "Thorax  1.0  B60f",
        "ProtocolName": "ThoraxRoutine",
        "ImageComments": "of no meaning",
        "StudyInstanceUID": generate_uid(),
        "WindowCenter": ["40", "-600"],
        "WindowWidth": ["400", "1200"],
        "WindowCenterWidthExplanation": ["MEDIASTINUM", "LUNG"],
    }.items():
        setattr(data, keyword, value)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTTHOR", "99LOCAL", "CT of the thorax"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, generate_uid()
    data.ProcedureCodeSequence = [code]
    data.ReferencedImageSequence = [reference, reference, reference]
    data.Rows = data.Columns = 512
    data.PixelData = bytes(512 * 512 * 2)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _best(call: Callable[[], Any], rounds: int = 7, calls: int = 100) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            call()
        best = min(best, (time.process_time() - start) / calls)
    return best * 1000


def _pydicom_json(path: Path) -> Any:
    return pydicom.dcmread(path, stop_before_pixels=True).to_json_dict()


def main() -> None:
    """Print the table."""
    steps = ("read_header", "normalise", "terms", "words", "build", "rebuild", "pydicom")
    print(f"{'file':22}{'elements':>9}" + "".join(f"{step:>12}" for step in steps) + "   (ms)")
    with TemporaryDirectory() as folder:
        typical = Path(folder) / "ct of 512x512"
        typical.write_bytes(_typical_ct())
        for path in (typical, *(real_file(name) for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"))):
            header = read_header(path)
            view = normalise(header.attributes).attributes
            size = path.stat().st_size
            document = build(path, "0" * 64, size, 1, _ORIGIN)
            calls: tuple[Callable[[], Any], ...] = (
                lambda path=path: read_header(path),
                lambda header=header: normalise(header.attributes),
                lambda view=view: terms(view),
                lambda view=view: words(view),
                lambda path=path, size=size: build(path, "0" * 64, size, 1, _ORIGIN),
                lambda document=document: rebuild(document.metadata),
            )
            figures = [_best(call) for call in calls]
            with contextlib.redirect_stdout(None):
                figures.append(_best(lambda path=path: _pydicom_json(path), rounds=2, calls=20))
            print(f"{path.name:22}{len(header.attributes):9}" + "".join(f"{figure:12.3f}" for figure in figures))


if __name__ == "__main__":
    main()
