"""The digest of a content: the data set in its transfer syntax, whoever sent it."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread

from tests.support.instances import part10
from vna.ingest.filemeta import content_digest


def rewritten(data: bytes, **meta: str) -> bytes:
    ds = dcmread(BytesIO(data))
    for keyword, value in meta.items():
        setattr(ds.file_meta, keyword, value)
    start = len(data) - len(dataset(data))
    target = BytesIO()
    ds.save_as(target, enforce_file_format=True)
    head = target.getvalue()
    return head[: len(head) - len(dataset(head))] + data[start:]


def dataset(data: bytes) -> bytes:
    return data[144 + int.from_bytes(data[140:144], "little") :]


def digest(data: bytes) -> str:
    found, size = content_digest(BytesIO(data))
    assert size == len(data)
    return found


def test_the_sender_in_the_file_meta_does_not_count() -> None:
    data = part10()
    other = rewritten(data, SourceApplicationEntityTitle="SOMEBODY", ImplementationVersionName="ELSE")
    assert other != data
    assert digest(other) == digest(data)


def test_another_byte_of_the_data_set_counts() -> None:
    data = bytearray(part10())
    before = digest(bytes(data))
    data[-1] ^= 1
    assert digest(bytes(data)) != before


def test_the_transfer_syntax_counts() -> None:
    data = part10()
    relabelled = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0", 1)
    assert dataset(relabelled) == dataset(data)
    assert digest(relabelled) != digest(data)


def test_without_file_meta_the_file_counts_as_it_is() -> None:
    assert digest(b"\x08\x00\x05\x00" * 50) != digest(b"\x08\x00\x05\x00" * 51)


def test_a_large_file_is_the_same_in_pieces() -> None:
    data = part10() + bytes(5_000_000)
    assert content_digest(BytesIO(data), memoryview(bytearray(20_000)))[0] == digest(data)
