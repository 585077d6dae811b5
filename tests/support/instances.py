"""Small instances, and an archive's inner parts over a temporary folder: everything real but the gateway."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.support.sending import data_set
from vna.bootstrap import Archive
from vna.config import Settings, load_settings
from vna.domain.origin import Origin
from vna.ingest.receive import Receiver
from vna.ingest.spool import Spool, SpoolEntry

ORIGIN = Origin("dimse", "CT1", "VNA", "127.0.0.1")


def part10(
    number: int = 1, *, study: int = 1, series: int = 1, patient: str = "P1", pixels: bytes = b"\0" * 128
) -> bytes:
    """Return the bytes of a CT image file with UIDs made of the numbers."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID = f"1.2.3.{study}"
    ds.SeriesInstanceUID = f"1.2.3.{study}.{series}"
    ds.SOPInstanceUID = f"1.2.3.{study}.{series}.{number}"
    ds.PatientID = patient
    ds.PatientName = "Doe^Jane"
    ds.StudyDate = "20260301"
    ds.StudyTime = "101530"
    ds.AccessionNumber = f"A{study}"
    ds.Modality = "CT"
    ds.SeriesNumber = str(series)
    ds.InstanceNumber = str(number)
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = 16
    ds.PixelData = pixels
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_of(data: bytes) -> str:
    """Return the digest of what an instance is, reckoned here by pydicom: its data set in its transfer syntax."""
    syntax = str(dcmread(BytesIO(data), stop_before_pixels=True).file_meta.TransferSyntaxUID)
    return hashlib.sha256(syntax.encode() + b"\0" + data_set(data)).hexdigest()


def spool_one(into: Spool | Receiver, data: bytes, origin: Origin = ORIGIN) -> SpoolEntry:
    """Receive an instance; on return it is acknowledged."""
    if isinstance(into, Spool):
        with into.begin(origin) as file:
            file.write(data)
            return file.seal()
    with into.begin(origin) as incoming:
        incoming.write(data)
        return incoming.commit()


def copy_of(spool: Spool, entry: SpoolEntry) -> Path:
    """Return a file with the bytes of an entry, compared with their checksum."""
    folder = spool.path.with_name(f"{spool.path.name}-copies")
    folder.mkdir(exist_ok=True)
    path = folder / entry.name
    path.write_bytes(spool.source(entry).read())
    return path


@dataclass
class Acknowledged:
    """The oracle: digests of what was acknowledged, and what of it the archive answers for."""

    digests: set[str]
    contents: set[str]

    @classmethod
    def empty(cls) -> Acknowledged:
        return cls(set(), set())

    def spool(self, into: Spool | Receiver, data: Iterable[bytes]) -> list[SpoolEntry]:
        entries = []
        for one in data:
            entries.append(spool_one(into, one))
            self.digests.add(digest_of(one))
            self.contents.add(content_of(one))
        return entries

    def check(self, archive: Archive) -> None:
        """Every acknowledged instance is stored whole, with metadata; the index knows each once; the spool is empty."""
        assert list(archive.spool.entries()) == []
        assert list(archive.spool.partial.iterdir()) == []
        found = {}
        documents = set()
        for info in archive.objects.list("instances/"):
            if info.key.endswith(".json"):
                documents.add(info.key.removesuffix(".json"))
                continue
            with archive.objects.open(info.key) as file:
                found[info.key.removesuffix(".dcm")] = hashlib.file_digest(file, "sha256").hexdigest()
        assert set(found.values()) == self.digests
        assert len(found) == len(self.digests), "an instance is stored twice"
        assert documents == set(found)
        archive.index.refresh()
        ids = {stem.rsplit("/", 1)[1].rsplit("-", 1)[0] for stem in found}
        known = archive.index.versions(sorted(ids))
        indexed = [digest for digests in known.values() for digest in digests]
        assert sorted(indexed) == sorted(self.contents)
        assert archive.index.counts().instances == len(ids)


def make_settings(folder: Path, **changes: object) -> Settings:
    """Return settings of an embedded archive below a folder, quick to retry."""
    spool = {"min_free_bytes": 0, "sweep_seconds": 1, "sweep_age_seconds": 0.2, "batch_seconds": 0.05}
    return load_settings(data=folder, spool=spool | changes.pop("spool", {}), **changes)  # type: ignore[operator]
