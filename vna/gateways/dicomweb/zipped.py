"""Instances as a ZIP archive of Part-10 files, written while they are read: nothing is kept, nothing compressed."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator, Sequence

from vna.dicom.decode import Decoder, decode_frame
from vna.domain.identity import InstanceUids
from vna.ports.objects import ObjectReader
from vna.retrieve.instances import Rendition, read_many

ZIP = "application/zip"

_PIECE = 256 * 1024
_UNSAFE = re.compile(r"[^0-9A-Za-z._-]|^\.+")
# Every entry has the same date, so that the same instances make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


def zip_name(items: Sequence[Rendition], *, below_study: bool) -> str:
    """Return a name for the archive: that of its study, or of what it is below that."""
    uids = items[0].location.uids
    return f"{_safe(uids.series if below_study else uids.study)}.zip"


def write_zip(objects: ObjectReader, items: Sequence[Rendition], decode: Decoder = decode_frame) -> Iterator[bytes]:
    """Yield a ZIP archive of instances, in folders by series; ZIP64 where sizes or numbers need it."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for item, content in read_many(objects, items, decode):
            entry = zipfile.ZipInfo(_path(item.location.uids), _DATE)
            entry.external_attr = 0o644 << 16
            entry.file_size = item.size or 0
            with archive.open(entry, "w", force_zip64=item.size is None) as file:
                for piece in content:
                    file.write(piece)
                    if sink.size >= _PIECE:
                        yield sink.take()
    yield sink.take()


class _Sink:
    """What the archive is written to: holds what was not yet taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is there."""

    def close(self) -> None:
        """Do nothing: what was not taken goes with the sink."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return data


def _path(uids: InstanceUids) -> str:
    return f"{_safe(uids.series)}/{_safe(uids.sop)}.dcm"


def _safe(uid: str) -> str:
    """Return a UID as a file name; one that is no UID cannot lead elsewhere, nor be taken for another."""
    name = _UNSAFE.sub("_", uid)
    return name if name == uid else f"{name}-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"
