"""Each step from stored values to greys and colours, against values worked out by hand or by pydicom."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.sequence import Sequence

from vna.dicom.header import Header
from vna.domain.errors import UnsupportedError
from vna.domain.origin import Origin
from vna.domain.records import Attributes
from vna.ingest.document import Metadata
from vna.retrieve.render import grey_or_colour
from vna.retrieve.render_attributes import Display, DisplayReader, Lut, Palette
from vna.retrieve.render_lut import Extent, coloured, lut_values, modality, palette_table, voi_lut, windowed
from vna.retrieve.render_request import Window
from vna.retrieve.values import ValueReader
from vna.store.folder import FolderStore


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}H", *values)


def lut_item(first: int, bits: int, *values: int) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(values), first, bits])
    item.add_new(0x00283006, "US", list(values))
    return item


def test_rescale_is_pydicoms() -> None:
    data_set = Dataset()
    data_set.RescaleSlope, data_set.RescaleIntercept = 2.5, -1024
    stored = np.array([[-5, 0], [7, 30000]], np.int16)
    assert (modality(stored, 2.5, -1024, None) == apply_modality_lut(stored, data_set)).all()


def test_modality_lut_is_pydicoms_and_clips_at_its_ends() -> None:
    data_set = Dataset()
    data_set.ModalityLUTSequence = Sequence([lut_item(-2, 16, 10, 20, 40, 80)])
    stored = np.array([-9, -2, -1, 0, 1, 2, 99], np.int16)
    got = modality(stored, 1, 0, Lut(4, -2, 16, words(10, 20, 40, 80)))
    assert list(got) == [10, 10, 20, 40, 80, 80, 80]
    assert (got == apply_modality_lut(stored, data_set)).all()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40.0, 400.0), (-600.0, 1500.0), (2048.0, 4096.0), (0.0, 90.0)])
def test_windows_are_pydicoms(function: str, centre: float, width: float) -> None:
    data_set = Dataset()
    data_set.WindowCenter, data_set.WindowWidth, data_set.VOILUTFunction = centre, width, function
    data_set.PhotometricInterpretation, data_set.PixelRepresentation = "MONOCHROME2", 1
    data_set.BitsStored = 16
    values = np.arange(-3000, 5000, 7, dtype=np.int16)
    expected = (apply_windowing(values, data_set).astype(float) + 32768) / 65535
    got = windowed(values.astype(float), Window(centre, width, function))
    assert np.allclose(got, expected, atol=1e-6)


def test_the_window_of_the_standards_example() -> None:
    # PS3.3 C.11.2.1.2.1: c=2048, w=4096 turns 12 bits into all greys; c=2048, w=1 is 0 below 2048 and white from it.
    values = np.array([0, 2047, 2048, 4095], float)
    assert list(np.rint(windowed(values, Window(2048, 4096)) * 255)) == [0, 127, 128, 255]
    assert list(windowed(values, Window(2048, 1))) == [0, 0, 1, 1]
    assert list(windowed(np.array([-1, 0, 1, 2], float), Window(1, 2, "LINEAR_EXACT"))) == [0, 0, 0.5, 1]


def test_voi_lut_is_pydicoms() -> None:
    data_set = Dataset()
    data_set.VOILUTSequence = Sequence([lut_item(3, 12, 0, 1000, 3000, 4095)])
    values = np.array([0, 3, 4, 5, 6, 500])
    got = voi_lut(values.astype(float), Lut(4, 3, 12, words(0, 1000, 3000, 4095)))
    assert np.allclose(got * 4095, apply_voi_lut(values, data_set))


def test_tables_of_bytes_and_of_words() -> None:
    assert list(lut_values(Lut(3, 0, 8, b"\x01\x02\x03\x00"))) == [1, 2, 3]
    assert list(lut_values(Lut(3, 0, 8, words(1, 2, 3)))) == [1, 2, 3]
    with pytest.raises(UnsupportedError):
        lut_values(Lut(3, 0, 16, b""))


def test_palette_is_pydicoms() -> None:
    data_set = Dataset()
    data_set.PhotometricInterpretation = "PALETTE COLOR"
    tables = {"Red": (0, 0x8000, 0xFFFF), "Green": (0x1234, 0, 0xFF00), "Blue": (0xFFFF, 0x0100, 0)}
    for name, values in tables.items():
        setattr(data_set, f"{name}PaletteColorLookupTableDescriptor", [3, 1, 16])
        setattr(data_set, f"{name}PaletteColorLookupTableData", words(*values))
    stored = np.array([[0, 1], [2, 3], [4, 255]], np.uint8)
    red, green, blue = (Lut(3, 1, 16, words(*values)) for values in tables.values())
    expected = apply_color_lut(stored, data_set) >> 8
    assert (coloured(stored, Palette((red, green, blue), segmented=False)) == expected).all()


def test_segmented_palette_of_the_standard() -> None:
    # PS3.3 C.7.9.2: discrete 0 1 2, linear over 4 up to 10, then the first segment again.
    segments = words(0, 3, 0, 1, 2, 1, 4, 10, 2, 1, 0, 0)
    channel = Lut(10, 0, 16, segments)
    table = palette_table(Palette((channel, channel, channel), segmented=True))
    assert list(table[:, 0]) == [0, 1, 2, 4, 6, 8, 10, 0, 1, 2]


def test_extent_leaves_padding_and_infinity_out() -> None:
    assert Extent.of(np.array([[-2000, 5], [9, -1990]], np.int16), (-2000, -1990)) == Extent(5, 9)
    assert Extent.of(np.array([[np.nan, 1.5], [np.inf, 2.5]], np.float32), None) == Extent(1.5, 2.5)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "<u4", "<i4", "<f4", "<f8"])
@pytest.mark.parametrize("inverted", [False, True])
def test_every_kind_of_number_is_shown_alike(kind: str, inverted: bool) -> None:
    stored = np.array([[0, 10, 20], [30, 40, 50]]).astype(kind)
    shown = grey_or_colour(stored, "MONOCHROME2", Display(inverted=inverted), Window(25, 50, "LINEAR_EXACT"))
    expected = np.array([[0, 51, 102], [153, 204, 255]])
    assert (shown == (255 - expected if inverted else expected)).all()


def test_negative_values_are_below_positive_ones() -> None:
    stored = np.array([[-100, 0, 100]], np.int16)
    assert list(grey_or_colour(stored, "MONOCHROME2", Display(), None)[0]) == [0, 128, 255]


def display(attributes: Attributes, frame: int = 1) -> Display:
    metadata = Metadata("k", "d", 0, 0, Origin("import"), Header(attributes, {}, "1.2.840.10008.1.2.1"), ())
    return DisplayReader(metadata, ValueReader(FolderStore.__new__(FolderStore), metadata)).of(frame)


def value(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)}


def test_what_is_found_in_a_data_set() -> None:
    found = display(
        {
            "00280004": value("CS", "MONOCHROME1"),
            "00280100": value("US", 16),
            "00280103": value("US", 1),
            "00280120": value("US", 63536),
            "00281050": value("DS", 40, 50),
            "00281051": value("DS", 400, 500),
            "00281052": value("DS", -1024),
            "00281053": value("DS", 2),
            "20500020": value("CS", "INVERSE"),
        }
    )
    assert (found.slope, found.intercept, found.inverted) == (2, -1024, True)
    assert found.window == Window(40, 400)
    assert found.padding == (-2000, -2000)


def test_functional_groups_stand_before_the_data_set_and_a_frames_own_before_the_shared() -> None:
    def group(centre: float) -> dict[str, object]:
        return {"00289132": value("SQ", {"00281050": value("DS", centre), "00281051": value("DS", 10)})}

    shared = {**group(1), "00289145": value("SQ", {"00281052": value("DS", 5), "00281053": value("DS", 3)})}
    attributes = {
        "52009229": value("SQ", shared),
        "52009230": value("SQ", group(2), {}),
        "00281050": value("DS", 9),
        "00281051": value("DS", 9),
    }
    assert display(attributes, 1).window == Window(2, 10)
    assert display(attributes, 2).window == Window(1, 10)
    assert display(attributes, 2).slope == 3


def test_lookup_tables_are_found_and_a_window_of_no_width_is_none() -> None:
    table = {"00283002": value("US", 2, 65534, 16)}
    inline = {**table, "00283006": {"vr": "OW", "InlineBinary": base64.b64encode(words(7, 8)).decode()}}
    found = display(
        {
            "00280103": value("US", 1),
            "00281050": value("DS", 0),
            "00281051": value("DS", 0),
            "00283000": value("SQ", inline),
            "00283010": value("SQ", {**table, "00283006": value("US", 7, 8)}),
        }
    )
    assert found.window is None
    assert found.modality_lut == found.voi_lut == Lut(2, -2, 16, words(7, 8))
