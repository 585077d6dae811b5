"""De-identification of every real file: nothing that tells whose it is gets out, and the pixels are as stored."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tracemalloc
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.support.identifying import found_in, harmless, identifying
from tests.support.real_files import real_file, real_files
from vna.deidentify.dataset import Deidentifier
from vna.deidentify.options import Options
from vna.deidentify.pixels import refusal
from vna.deidentify.profile import Profile
from vna.deidentify.pseudonyms import Pseudonyms
from vna.dicom.elements import EXPLICIT_BIG
from vna.domain.errors import NotFoundError, UnparsableError, UnsupportedError, WithheldError
from vna.domain.identity import metadata_key
from vna.domain.origin import Origin
from vna.domain.records import Location
from vna.ingest.document import Metadata, build, parse_metadata
from vna.ports.objects import Put
from vna.retrieve import deidentified_instance
from vna.retrieve.deidentified import DeidentifiedObjects
from vna.retrieve.deidentified_instance import DeidentifiedInstance, deidentify
from vna.retrieve.frames import Frames
from vna.retrieve.values import ValueReader
from vna.store.folder import FolderStore

ORIGIN = Origin("dimse", "SENDER-AE", "VNA", "192.0.2.77")
DCMDUMP = "/usr/bin/dcmdump"


@dataclass(frozen=True)
class Stored:
    store: FolderStore
    path: Path
    metadata: Metadata

    def made(self, options: Options = Options()) -> DeidentifiedInstance:  # noqa: B008 - it is frozen
        return deidentify(self.metadata, Deidentifier(Profile(options), Pseudonyms(self.store)))

    def whole(self, made: DeidentifiedInstance) -> bytes:
        return b"".join(made.read(ValueReader(self.store, self.metadata)))

    @property
    def location(self) -> Location:
        found = build(self.path, self.metadata.digest, self.metadata.size, 1, ORIGIN).instance
        return Location(found.uids, found.sop_class, found.transfer_syntax, found.digest, found.size, found.key)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stored]:
    store = FolderStore(tmp_path_factory.mktemp("objects"))
    found: dict[str, Stored] = {}
    for path in real_files():
        data = path.read_bytes()
        try:
            document = build(path, hashlib.sha256(data).hexdigest(), len(data), 1_700_000_000_000_000, ORIGIN)
        except UnparsableError:
            continue
        metadata = parse_metadata(document.metadata)
        store.put(metadata.key, data)
        store.put(metadata_key(metadata.key), document.metadata)
        found[path.name] = Stored(store, path, metadata)
    assert len(found) >= 200
    return found


@pytest.fixture
def nothing_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets out what would be withheld, so that more is seen of how it is written."""
    monkeypatch.setattr(deidentified_instance, "refusal", lambda _attributes: "")


@pytest.mark.usefixtures("nothing_withheld")
@pytest.mark.parametrize(
    "options", [Options(), Options(devices=True, patient=True, private=True)], ids=["basic", "options"]
)
def test_no_identifying_value_is_left_in_metadata_or_instance(stored: dict[str, Stored], options: Options) -> None:
    looked_for = 0
    kept = {"00181000", "00181010", "00081010"} if options.devices else set()
    for name, each in list(stored.items())[:: 2 if options.devices else 1]:
        made = each.made(options)
        assert made.refusal == "", name
        document = parse_metadata(made.document)
        shown = document.header.attributes
        assert document.origin.calling == document.origin.address == ""
        assert document.received_us == 0
        assert document.digest != each.metadata.digest
        secrets = [each for each in identifying(each.metadata.header.attributes) if each[0] not in kept]
        # What is written between the bulk values: the header of the file, and all elements.
        written = b"".join(part.data for part in made.parts if part.bulk is None)
        assert written[:132] == b"\0" * 128 + b"DICM"
        assert b"SENDER-AE" not in written
        told = json.dumps([shown, document.header.meta, document.changes], ensure_ascii=False)
        for text in (told, written.decode("latin-1"), written.decode("utf-8", "replace")):
            for word in harmless(shown):
                text = text.replace(word, "")  # noqa: PLW2901
            assert found_in(text, secrets) == [], name
        looked_for += len(secrets)
    assert looked_for > 800


@pytest.mark.usefixtures("nothing_withheld")
def test_what_goes_out_is_read_by_others_agrees_with_the_metadata_and_has_the_same_pixels(
    stored: dict[str, Stored],
) -> None:
    images = 0
    for name, each in stored.items():
        made = each.made()
        whole = each.whole(made)
        assert len(whole) == made.size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(io.BytesIO(whole))
            str(found)
            shown = parse_metadata(made.document).header.attributes
            assert {f"{int(tag):08X}" for tag in found.keys()} | {"00080005"} == set(shown) | {"00080005"}, name  # noqa: SIM118
            assert found.PatientIdentityRemoved == "YES"
            assert str(found.PatientName) == found.PatientID == shown["00100020"]["Value"][0]
            assert [code.CodeValue for code in found.DeidentificationMethodCodeSequence] == ["113100", "113110"]
            if "7FE00010" not in each.metadata.header.bulk:
                continue
            original = pydicom.dcmread(each.path, force=True)
            if "PixelData" not in original:
                continue
            if each.metadata.header.transfer_syntax == EXPLICIT_BIG:
                assert np.array_equal(found.pixel_array, original.pixel_array), name
            else:
                length = len(original.PixelData)
                assert found.PixelData[:length] == original.PixelData, name
                assert len(found.PixelData) - length in {0, 1}, name
            images += 1
    assert images > 150


@pytest.mark.usefixtures("nothing_withheld")
def test_dcmdump_reads_what_goes_out(stored: dict[str, Stored], tmp_path: Path) -> None:
    files = []
    for number, name in enumerate(sorted(stored)[::4]):
        made = stored[name].made()
        (tmp_path / f"{number}.dcm").write_bytes(stored[name].whole(made))
        files.append(str(tmp_path / f"{number}.dcm"))
    done = subprocess.run([DCMDUMP, "-q", *files], capture_output=True, text=True, errors="replace", check=False)
    assert done.stdout.count("# Dicom-File-Format") >= len(files), done.stderr[-2000:]
    # A file that is cut short in its pixel data goes out as it is.
    assert len([line for line in done.stderr.splitlines() if line.startswith("E:")]) <= 2, done.stderr


def test_frames_lie_where_the_metadata_of_what_goes_out_says(stored: dict[str, Stored]) -> None:
    view = DeidentifiedObjects(
        stored["CT_small.dcm"].store, Deidentifier(Profile(Options()), Pseudonyms(stored["CT_small.dcm"].store))
    )
    compared = 0
    for name, each in stored.items():
        try:
            frames = Frames.of(view, each.location)
            before = Frames.of(each.store, each.location)
            assert frames.count == before.count, name
            numbers = {1, frames.count}
            shown = [
                b"".join(frames.stored(number) if frames.compressed else frames.native(number)) for number in numbers
            ]
        except (WithheldError, NotFoundError, UnsupportedError, UnparsableError):
            continue
        same = [b"".join(before.stored(number) if before.compressed else before.native(number)) for number in numbers]
        assert shown == same, name
        compared += 1
    assert compared > 40


def test_ranges_and_files_of_a_view_are_those_of_the_whole(stored: dict[str, Stored]) -> None:
    each = stored["CT_small.dcm"]
    view = DeidentifiedObjects(each.store, Deidentifier(Profile(Options()), Pseudonyms(each.store)))
    key = each.metadata.key
    whole = view.get(key)
    released = view.release([each.location])
    assert [item.size for item in released] == [len(whole)] == [view.head(key).size]  # type: ignore[union-attr]
    for start, length in ((0, 200), (130, 9), (1000, 3000), (len(whole) - 5, 99), (len(whole), 1), (0, 0)):
        assert b"".join(view.stream(key, start, length, 100)) == whole[start : start + length]
    with view.open(key) as file:
        file.seek(1000)
        assert file.read(700) == whole[1000:1700]
        assert file.seek(-10, 2) == len(whole) - 10
        assert file.read() == whole[-10:]
    assert list(view.get_many([key, metadata_key(key), "instances/none.json"]))[2][1] is None
    with pytest.raises(NotFoundError):
        view.get("security/session-secret")


def test_memory_does_not_grow_with_an_instance(tmp_path: Path) -> None:
    data = pydicom.dcmread(real_file("CT_small.dcm"))
    data.Rows, data.Columns = 8192, 4096
    data.PixelData = bytes(2 * 8192 * 4096)
    path = tmp_path / "large.dcm"
    data.save_as(path)
    store = FolderStore(tmp_path / "objects")
    document = build(path, "0" * 64, path.stat().st_size, 1, ORIGIN)
    store.put_batch([Put(document.instance.key, path), Put(metadata_key(document.instance.key), document.metadata)])
    view = DeidentifiedObjects(store, Deidentifier(Profile(Options()), Pseudonyms(store)))
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in view.stream(document.instance.key))
        with view.open(document.instance.key) as file:
            file.seek(64 << 20)
            assert len(file.read(1000)) == 1000
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert size > 64 << 20


def test_studies_of_a_patient_belong_together_and_pseudonyms_need_the_secret(tmp_path: Path) -> None:
    one, other = (Pseudonyms(FolderStore(tmp_path / name)) for name in ("a", "b"))
    patient = {"00100020": {"vr": "LO", "Value": ["4711"]}, "0020000D": {"vr": "UI", "Value": ["1.2"]}}
    again = patient | {"00100020": {"vr": "LO", "Value": [" 4711 "]}, "0020000D": {"vr": "UI", "Value": ["1.3"]}}
    assert one.of(patient) == one.of(again) == Pseudonyms(FolderStore(tmp_path / "a")).of(patient)
    assert one.of(patient) != other.of(patient)
    elsewhere = patient | {"00100021": {"vr": "LO", "Value": ["OTHER HOSPITAL"]}}
    assert one.of(elsewhere) != one.of(patient)
    nobody = {"0020000D": {"vr": "UI", "Value": ["1.2"]}}
    assert one.of(nobody) != one.of({"0020000D": {"vr": "UI", "Value": ["1.3"]}})


def test_what_may_show_a_name_is_withheld(stored: dict[str, Stored]) -> None:
    reasons = {name: each.made().refusal for name, each in stored.items()}
    assert reasons["CT_small.dcm"] == reasons["rtdose.dcm"] == ""
    assert "BurnedInAnnotation" in reasons["SC_rgb.dcm"]
    assert "text" in reasons["reportsi.dcm"]
    kinds = {"BurnedIn", "ORIGINAL", "text", "RecognizableVisual"}
    assert all(any(kind in reason for kind in kinds) for reason in reasons.values() if reason)
    ct = stored["CT_small.dcm"].metadata.header.attributes
    for tag, vr, value in (
        *(("00280301", "CS", "YES"), ("00280302", "CS", "YES"), ("60020102", "US", 12), ("00080008", "CS", "DERIVED")),
        ("00080016", "UI", "1.2.840.10008.5.1.4.1.1.7"),
    ):
        assert refusal(ct | {tag: {"vr": vr, "Value": [value]}}), tag
    assert refusal(ct | {"00280301": {"vr": "CS", "Value": ["NO", "YES"]}})
    assert refusal(stored["rtdose.dcm"].metadata.header.attributes | {"00280301": {"vr": "CS", "Value": ["YES"]}})
    frame = {"00089007": {"vr": "CS", "Value": ["DERIVED", "SECONDARY", "SCREEN"]}}
    group = {"vr": "SQ", "Value": [{"00189329": {"vr": "SQ", "Value": [frame]}}]}
    assert "ORIGINAL" in refusal(
        ct | {"00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2.1"]}, "52009230": group}
    )
    own = replace(stored["CT_small.dcm"].metadata.header, transfer_syntax="1.2.840.113619.5.2")
    metadata = replace(stored["CT_small.dcm"].metadata, header=own)
    assert "1.2.840.113619.5.2" in replace(stored["CT_small.dcm"], metadata=metadata).made().refusal
    screen = stored["SC_rgb.dcm"].metadata.header.attributes | {"00280301": {"vr": "CS", "Value": ["NO"]}}
    assert refusal(screen) == ""
    assert refusal(screen | {"00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]}})
    each = stored["SC_rgb.dcm"]
    view = DeidentifiedObjects(each.store, Deidentifier(Profile(Options()), Pseudonyms(each.store)))
    assert parse_metadata(view.get(metadata_key(each.metadata.key))).header.attributes["00080060"]["Value"] == ["OT"]
    with pytest.raises(WithheldError, match="BurnedInAnnotation"):
        view.get(each.metadata.key)
    with pytest.raises(WithheldError, match="BurnedInAnnotation"):
        next(view.stream(each.metadata.key, 2000, 10))
    with pytest.raises(WithheldError, match="BurnedInAnnotation"), view.open(each.metadata.key):
        pass
    both = [each.location, stored["CT_small.dcm"].location]
    assert [item.uids for item in view.release(both)] == [both[1].uids]
    with pytest.raises(WithheldError, match="BurnedInAnnotation"):
        view.release(both[:1])


def test_pixels_within_a_sequence_are_another_image(tmp_path: Path) -> None:
    item = {"7FE00010": {"vr": "OB", "InlineBinary": "AAAA"}, "00280010": {"vr": "US", "Value": [1]}}
    data_set = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00081140": {"vr": "SQ", "Value": [item]}}
    made = Deidentifier(Profile(Options()), Pseudonyms(FolderStore(tmp_path))).data_set(data_set)
    assert made["00081140"]["Value"] == [{"00280010": {"vr": "US", "Value": [1]}}]


def test_dates_and_descriptors_stay_where_a_setting_says_so(stored: dict[str, Stored]) -> None:
    name = "CT_small.dcm"
    assert real_file(name).exists()
    before = stored[name].metadata.header.attributes
    shown = parse_metadata(stored[name].made(Options(dates=True, descriptors=True)).document).header.attributes
    assert shown["00080020"] == before["00080020"]
    assert shown["00081030"] == before["00081030"]
    assert "Value" not in shown["00100030"]
    assert shown["00280303"]["Value"] == ["UNMODIFIED"]
    codes = [item["00080100"]["Value"][0] for item in shown["00120064"]["Value"]]
    assert codes == ["113100", "113110", "113106"]
    named = dict(before) | {"00081030": {"vr": "LO", "Value": ["for Mr CompressedSamples^CT1"]}}
    named["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": "CompressedSamples^CT1"}]}
    engine = Deidentifier(Profile(Options(descriptors=True)), Pseudonyms(stored[name].store))
    assert "00081030" not in engine.data_set(named)


def test_private_attributes_stay_where_the_standard_lists_them_and_a_setting_says_so(tmp_path: Path) -> None:
    block = {
        "00190010": {"vr": "LO", "Value": ["SIEMENS MR HEADER"]},
        "00190011": {"vr": "LO", "Value": ["SOMEBODY ELSE"]},
        "0019100C": {"vr": "IS", "Value": [1000]},
        "0019100D": {"vr": "CS", "Value": ["Directional, of Mr Dent"]},
        "00191008": {"vr": "CS", "Value": ["IMAGE NUM 4"]},
        "0019110C": {"vr": "IS", "Value": [1000]},
        "0019120C": {"vr": "IS", "Value": [1000]},
    }
    data = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "52009229": {"vr": "SQ", "Value": [block]}} | block
    pseudonyms = Pseudonyms(FolderStore(tmp_path))
    kept = Deidentifier(Profile(Options(private=True)), pseudonyms).data_set(data)
    assert {tag for tag in kept if tag.startswith("0019")} == {"00190010", "0019100C"}
    assert kept["52009229"]["Value"] == [{"00190010": block["00190010"], "0019100C": block["0019100C"]}]
    removed = Deidentifier(Profile(Options()), pseudonyms).data_set(data)
    assert removed["52009229"]["Value"] == [{}]
    assert not {tag for tag in removed if tag.startswith("0019")}
