"""Decoding compressed frames by pydicom's decoders (GDCM, OpenJPEG, CharLS, RLE)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vna.domain.errors import UnsupportedError
from vna.domain.records import Attributes


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The attributes of the Image Pixel Module (PS3.3 C.7.6.3) that the layout of frames depends on."""

    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int = 8
    bits_stored: int = 8
    photometric: str = "MONOCHROME2"
    signed: int = 0
    planar: int = 0
    frames: int = 1

    @classmethod
    def of(cls, attributes: Attributes) -> ImagePixel:
        """Read them from a data set in the DICOM JSON model.

        Raises
        ------
        UnsupportedError
            The instance has no Rows, Columns or Bits Allocated that make an image.
        """
        rows, columns = _number(attributes, "00280010"), _number(attributes, "00280011")
        allocated = _number(attributes, "00280100")
        if rows <= 0 or columns <= 0 or allocated <= 0:
            raise UnsupportedError("the instance has no image: Rows, Columns or Bits Allocated is missing")
        photometric = (attributes.get("00280004", {}).get("Value") or [""])[0]
        return cls(
            rows=rows,
            columns=columns,
            samples=max(1, _number(attributes, "00280002", 1)),
            bits_allocated=allocated,
            bits_stored=_number(attributes, "00280101", allocated) or allocated,
            photometric=str(photometric or "MONOCHROME2").strip(),
            signed=_number(attributes, "00280103"),
            planar=_number(attributes, "00280006"),
            frames=max(1, _number(attributes, "00280008", 1)),
        )

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame (PS3.5 8.1.1); chrominance is halved in YBR_FULL_422 (PS3.3 C.7.6.3.1.2)."""
        samples = self.samples
        if samples == 3 and self.photometric == "YBR_FULL_422":
            samples = 2
        return self.rows * self.columns * samples * self.bits_allocated


def _number(attributes: Attributes, tag: str, default: int = 0) -> int:
    values = attributes.get(tag, {}).get("Value") or [default]
    try:
        return int(values[0])
    except (TypeError, ValueError):
        return default


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded frame, colour by pixel, little endian, and what the decoding made of the Image Pixel Module."""

    data: bytes
    photometric: str
    samples: int
    bits_allocated: int


Decoder = Callable[[bytes, str, ImagePixel], Decoded]
"""Decodes one frame as :func:`decode_frame` does, maybe elsewhere than in this process."""


# What pydicom's decoders and the libraries of this archive can decode. Asking them would load numpy and all codecs,
# half a second and 40 MiB, into processes that leave the decoding to others; a test asks them.
_DECODED = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.5",
        *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),
    }
)


def can_decode(transfer_syntax: str) -> bool:
    """Say whether there is a decoder for a transfer syntax."""
    return transfer_syntax in _DECODED


def decode_frame(data: bytes, transfer_syntax: str, image: ImagePixel) -> Decoded:
    """Decode one frame.

    Parameters
    ----------
    data
        The frame's fragments, joined.
    transfer_syntax
        What it is compressed in.
    image
        Its layout.

    Returns
    -------
    Decoded
        YCbCr is turned into RGB.

    Raises
    ------
    UnsupportedError
        There is no decoder, or none can decode this frame.
    """
    if not can_decode(transfer_syntax):
        from pydicom.uid import UID

        raise UnsupportedError(
            f"there is no decoder for transfer syntax {transfer_syntax} ({UID(transfer_syntax).name})"
        )
    return _decoded(*frame_array(data, transfer_syntax, image))


def frame_array(
    data: bytes, transfer_syntax: str, image: ImagePixel, *, keyword: str = "PixelData"
) -> tuple[Any, Mapping[str, Any]]:
    """Decode one frame, compressed or native, to an array.

    Parameters
    ----------
    data
        The frame: its fragments, joined, or native pixels that start at the first bit.
    transfer_syntax
        What it is compressed in; Explicit VR Little Endian for native pixels.
    image
        Its layout.
    keyword
        Which of the attributes of pixel data it is of (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25).

    Returns
    -------
    numpy.ndarray, dict
        Rows by columns, by samples if there are several, unused bits cleared,
        YCbCr turned into RGB; and the attributes that are the pixels' own now.

    Raises
    ------
    UnsupportedError
        It cannot be decoded.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    syntax = UID(transfer_syntax)
    options: dict[str, Any] = {
        "rows": image.rows,
        "columns": image.columns,
        "number_of_frames": 1,
        "samples_per_pixel": image.samples,
        "bits_allocated": image.bits_allocated,
        "bits_stored": image.bits_stored,
        "photometric_interpretation": image.photometric,
        "pixel_representation": image.signed,
        "pixel_keyword": keyword,
    }
    if image.samples > 1:
        options["planar_configuration"] = image.planar
    source = encapsulate([data]) if syntax.is_encapsulated else data
    try:
        with warnings.catch_warnings():
            # Decoders warn of headers that contradict the data set; the pixels are what counts here.
            warnings.simplefilter("ignore")
            array, made = get_decoder(syntax).as_array(source, index=0, **options)
    except MemoryError:
        raise
    except Exception as error:  # decoders written in C raise anything
        # Where several decoders were tried, the second line is what the first of them said.
        said = [line.strip() for line in str(error).strip().splitlines()[:2]] or [type(error).__name__]
        raise UnsupportedError(f"the pixel data ({syntax.name}) cannot be decoded: {' '.join(said)}") from error
    return array, made


def _decoded(array: Any, made: Mapping[str, Any]) -> Decoded:
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return Decoded(
        array.tobytes(),
        str(made["photometric_interpretation"]),
        int(made["samples_per_pixel"]),
        array.dtype.itemsize * 8,
    )
