"""What WADO-RS metadata shows of an instance."""

from __future__ import annotations

from tests.support.real_files import real_file
from vna.domain.origin import Origin
from vna.ingest.document import build, parse_metadata
from vna.retrieve.metadata import linked


def test_metadata_is_utf8_and_has_no_group_lengths() -> None:
    path = real_file("693_J2KI.dcm")
    metadata = parse_metadata(build(path, "0" * 64, path.stat().st_size, 1, Origin("stow")).metadata)
    assert "00080000" in metadata.header.attributes
    shown = linked(metadata, lambda bulk: f"https://archive/{bulk}")
    assert not [tag for tag in shown if tag.endswith("0000")]
    assert shown["00080005"]["Value"] == ["ISO_IR 192"]
    assert shown["7FE00010"]["BulkDataURI"] == "https://archive/7FE00010"
