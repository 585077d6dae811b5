"""Real DICOM files of several vendors, from packages that are installed for the tests."""

from __future__ import annotations

import gzip
import importlib.util
import tempfile
from functools import cache
from pathlib import Path

_PLACES = {
    "pydicom": "data",
    "data_store": "",
    "nibabel": "nicom/tests/data",
    "heudiconv": "",
    "deid_data": "",
}
_NOT_DICOM = {".py", ".pyc", ".json", ".md", ".zip", ".gz", ".gif", ".txt", ".typed", ".bin", ".icc", ".dump", ".jpg"}


@cache
def real_files() -> tuple[Path, ...]:
    """Return every file of the packages that may be DICOM, in a fixed order; some are broken on purpose."""
    found: dict[Path, str] = {}
    for package, below in _PLACES.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"package {package} is not installed"
        for place in spec.submodule_search_locations or ():
            folder = Path(place) / below
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix not in _NOT_DICOM:
                    found[path] = f"{package}/{path.relative_to(place)}"
                elif path.name.endswith(".dcm.gz"):
                    found[_unpack(path)] = f"{package}/{path.relative_to(place)}"
    # By what a file is called in its package, not by where this machine has the package.
    return tuple(sorted((path for path in found if _may_be_dicom(path)), key=found.__getitem__))


def _unpack(path: Path) -> Path:
    folder = Path(tempfile.gettempdir()) / "vna-real-files"
    folder.mkdir(exist_ok=True)
    unpacked = folder / path.stem
    data = gzip.decompress(path.read_bytes())
    if not unpacked.exists() or unpacked.stat().st_size != len(data):
        part = unpacked.with_suffix(f".{id(data):x}.part")
        part.write_bytes(data)
        part.replace(unpacked)
    return unpacked


def _may_be_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or (head[:1] in b"\x00\x02\x08" and b"\n" not in head[:8] and len(head) > 8)


@cache
def real_file(name: str) -> Path:
    """Return the real file of this name."""
    found = [path for path in real_files() if path.name == name]
    assert found, f"no real file {name}"
    return found[0]
