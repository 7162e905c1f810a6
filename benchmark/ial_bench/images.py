"""Photos as arrays: one decoder for every method, so that all see the same pixels.

A photo that cannot be decoded is an error that names its file. It is never replaced by a blank one. How much memory it
takes to decode is computed from its header first: a few kilobytes can unpack to gigabytes.
"""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench.errors import DataError, ImageError
from ial_bench.files import check_regular, check_storage

if TYPE_CHECKING:
    from PIL import Image

RGB: TypeAlias = npt.NDArray[np.uint8]
"""A decoded photo: uint8, [height, width, 3]."""

MAX_PIXELS = 89_478_485
"""A photo of more pixels than this is refused unread, however little memory it takes.

It is the size from which Pillow itself warns. The warning cannot be switched off here: all threads share its filters,
and photos are decoded in several.
"""

MAX_BYTES = 450_000_000
"""A photo that takes more memory is refused unread; with interpreter and libraries, 500 MB are not exceeded."""

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM", "HEIF")
"""Formats that are read, by Pillow's names: those with a signature and known needs of memory. Others hold whole files
that their header does not describe (icons), are unpacked by loops in Python, or are programs (PostScript)."""

_RESULT = 3  # bytes a pixel
# Bytes per pixel that a decoder holds at most beside Pillow's image, as measured by `tests/test_image_memory.py`.
_DECODER = {"WEBP": 18, "AVIF": 16, "JPEG2000": 22, "PPM": 6, "HEIF": 8}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
_SCAN = 0xDA
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_LENGTH = 258, 262, 274, 277, 278, 322, 323
_YCBCR = 6

_BAND_PIXELS = 1 << 17  # that are converted at once
_SMALLER = "make it smaller, or store it as a baseline JPEG, of which 60 million pixels in colour are read"
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_HEAD = 12  # bytes that show the format
_VERIFY = "run `bench data verify` on the dataset to list every bad photo, then replace or remove them"


def decode(data: bytes, name: str) -> RGB:
    """Decode a photo to RGB, its EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images are converted, transparency is laid on black; the content decides
    the format, not the file's suffix. Of several frames the first is taken.

    Args:
        data: the file's bytes.
        name: the file's name, for errors.

    Returns:
        An array that cannot be written to.

    Raises:
        ImageError: empty, truncated or not an image of a format that is read, of more pixels than `MAX_PIXELS`, or one
            that takes more memory than `MAX_BYTES`.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(f"{name} is empty (0 bytes)", _VERIFY)
    try:
        with Image.open(io.BytesIO(data), formats=_readable(data)) as image:
            size = f"{name} is {image.width} x {image.height} pixels"
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{size}, over the limit of {MAX_PIXELS:,}", _VERIFY)
            if (needed := bytes_to_decode(image, data)) > MAX_BYTES:
                megabytes = f"{needed / 1e6:,.0f} MB, over the limit of {MAX_BYTES / 1e6:,.0f}"
                raise ImageError(f"{size}: to decode it as {image.format} takes {megabytes}", _SMALLER)
            if image.format == "PNG":
                _check_png(data)
            return _rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _not_read(data, name) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a warning, where it is an error
        raise ImageError(f"{name} is over the limit of {MAX_PIXELS:,} pixels", _VERIFY) from error
    except Exception as error:  # damaged files make Pillow raise OSError, SyntaxError, struct.error and more
        raise ImageError(f"{name} is damaged: {error}", _VERIFY) from error


def identify(data: bytes, name: str) -> None:
    """Refuse a file whose content is no image. Nothing is decoded: the image may still be damaged further on.

    Raises:
        ImageError: not an image that `decode` reads.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_readable(data)):
            return
    except Exception as error:  # as in `decode`
        raise ImageError(f"{name} is not an image that can be read", _VERIFY) from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open the photo at `path` for what its header says; its pixels are not read.

    Raises:
        ImageError: missing, empty, not an image that is read, or damaged where the block reads.
    """
    from PIL import Image, UnidentifiedImageError

    head = b""
    try:
        check_regular(path)
        if not path.stat().st_size:
            raise ImageError(f"{path} is empty (0 bytes)", _VERIFY)
        with path.open("rb") as file:
            head = file.read(_HEAD)
        with Image.open(path, formats=_readable(head)) as image:
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _not_read(head, str(path)) from error
    except Exception as error:  # as in `decode`
        check_storage(error, path)
        raise ImageError(f"{path} is damaged: {error}", _VERIFY) from error


def _not_read(data: bytes, name: str) -> ImageError:
    """The error for a file that no decoder knows."""
    if _is_heif(data):
        return ImageError(f"{name} is a HEIF image, which needs a decoder of its own", "pip install 'ial-bench[heic]'")
    return ImageError(f"{name} is not an image that can be read ({', '.join(_formats())})", _VERIFY)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _readable(data: bytes) -> list[str]:
    """The `FORMATS` that can be read here. The HEIF plugin is slow to load, and loaded for HEIF alone."""
    return _with_heif() if _is_heif(data) else _formats()


@cache
def _with_heif() -> list[str]:
    if importlib.util.find_spec("pillow_heif") is None:
        return _formats()
    import pillow_heif

    pillow_heif.register_heif_opener()
    return [*_formats(), "HEIF"]


@cache
def _formats() -> list[str]:
    """The `FORMATS` that Pillow reads without a plugin."""
    from PIL import Image

    Image.init()
    return [form for form in FORMATS if form in Image.OPEN and form != "HEIF"]


def read(path: Path, expected_bytes: int | None = None) -> RGB:
    """Read and decode the photo at `path`.

    Raises:
        ImageError: missing, damaged, or not `expected_bytes` long (changed since the dataset was made).
    """
    data = read_bytes(path)
    if expected_bytes is not None:
        check_size(data, expected_bytes, str(path))
    return decode(data, str(path))


def check_size(data: bytes, expected_bytes: int, name: str) -> None:
    """Refuse the photo `name` if its `data` are not `expected_bytes` long.

    Raises:
        ImageError: they are not: it has changed since the dataset was made.
    """
    if len(data) != expected_bytes:
        raise ImageError(
            f"{name} has {len(data):,} bytes, but had {expected_bytes:,} when the dataset was made",
            "restore the photo, or import the dataset again",
        )


def read_bytes(path: Path) -> bytes:
    """The bytes of the photo at `path`.

    Raises:
        ImageError: missing or unreadable.
    """
    try:
        check_regular(path)
        return path.read_bytes()
    except DataError as error:
        raise ImageError(error.problem, _VERIFY) from error
    except OSError as error:
        check_storage(error, path)
        raise ImageError(f"cannot read photo {path}: {error.strerror}", _VERIFY) from error


def _check_png(data: bytes) -> None:
    """Compare the checksums of all chunks, which decoding alone does not check."""
    view, at, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", view, at)
        (stated,) = struct.unpack_from(">I", view, at + 8 + length)
        if zlib.crc32(view[at + 4 : at + 8 + length]) != stated:
            raise ValueError(f"the checksum of its chunk {kind.decode('ascii', 'replace')} is wrong")
        at += 12 + length


# By EXIF orientation: the upright array, seen as it is stored. (``ImageOps.exif_transpose`` also writes the EXIF block
# again, and fails at one with odd entries.)
_AS_STORED: dict[int, Callable[[RGB], RGB]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
_TURNED = {5, 6, 7, 8}  # width and height change places


def _rgb(image: Image.Image) -> RGB:
    """The pixels of `image`, upright, converted band by band: a whole photo in float64 would take gigabytes."""
    from PIL import ExifTags

    image.load()  # a TIFF turns itself here, and forgets its orientation
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = image.size
    bands = _bands(width, height)
    convert = _converter(image, bands)
    upright = np.empty((*((width, height) if orientation in _TURNED else (height, width)), 3), np.uint8)
    stored = _AS_STORED.get(orientation, _AS_STORED[1])(upright)
    for band in bands:
        stored[band] = convert(_cut(image, band))
    upright.flags.writeable = False
    return upright


def _bands(width: int, height: int) -> list[slice]:
    rows = max(1, _BAND_PIXELS // max(1, width))
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _cut(image: Image.Image, band: slice) -> Image.Image:
    whole = band.stop - band.start == image.height
    return image if whole else image.crop((0, band.start, image.width, band.stop))


def _converter(image: Image.Image, bands: Sequence[slice]) -> Callable[[Image.Image], npt.NDArray[Any]]:
    """What converts a band of `image` to RGB, without clipping deep images or dropping transparency silently.

    Grey bands are [rows, width, 1].
    """
    if image.mode.startswith("I;16"):
        return lambda band: _grey(np.asarray(band, dtype=np.float64) / 257.0)
    if image.mode in {"I", "F"}:  # 32-bit containers; PNGs of 16 bits arrive here with some Pillow versions
        scale = 255.0 / _top(image, bands)
        return lambda band: _grey(np.asarray(band, dtype=np.float64) * scale)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        return _on_black
    return lambda band: np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def _top(image: Image.Image, bands: Sequence[slice]) -> float:
    """The value of `image` that becomes white: 255; in a deeper image 65,535 or its largest value."""
    highest = -np.inf
    for band in bands:
        values = np.asarray(_cut(image, band), dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("pixels that are not finite")
        highest = max(highest, float(values.max(initial=-np.inf)))
    return 255.0 if highest <= 255.0 else max(65535.0, highest)


def _grey(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None]


def _on_black(band: Image.Image) -> npt.NDArray[np.uint8]:
    from PIL import Image

    rgba = band.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, rgba).convert("RGB"))


def bytes_to_decode(image: Image.Image, data: bytes) -> int:
    """Bytes that decoding takes at its peak, including the file's own.

    Args:
        image: opened, not loaded; of one of `FORMATS`.
        data: the file.
    """
    pixels = image.width * image.height
    held = pixels * _stored(image.mode)
    if image.format in {"JPEG", "MPO"}:
        beside = _coefficients(data, pixels)
    elif image.format == "TIFF":
        beside = _tiff_block(image)
        if image.tag_v2.get(_ORIENTATION, 1) != 1:  # type: ignore[attr-defined]
            beside = max(beside, held)  # it is turned as it is loaded
    else:
        beside = pixels * _DECODER.get(image.format or "", 0)
    return len(data) + held + max(beside, pixels * _RESULT)


def _stored(mode: str) -> int:
    """Bytes a pixel of Pillow's image."""
    return 1 if mode in {"1", "L", "P"} else 2 if mode.startswith("I;16") else 4


def _coefficients(data: bytes, pixels: int) -> int:
    """Bytes of the coefficients, 2 each, that libjpeg keeps where no single scan completes a block."""
    at, size, components, progressive = 2, 0, 0, False
    while at + 10 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker == _SCAN and components:
            return size if progressive or data[at + 4] < components else 0
        else:
            if marker in _FRAMES:
                components, progressive = data[at + 9], marker in _PROGRESSIVE
                size = _frame(data[at + 5 : at + 10 + 3 * components])
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 8 * pixels  # not understood: four components, none of them smaller than the photo


def _frame(frame: bytes) -> int:
    height, width = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
    factors = [(f >> 4, f & 15) for f in frame[6::3]]
    across, down = (max((f[i] for f in factors), default=1) or 1 for i in (0, 1))
    blocks = -(-width // (8 * across)) * -(-height // (8 * down))  # of the largest component
    return sum(128 * blocks * a * d for a, d in factors)


def _tiff_block(image: Any) -> int:
    """Bytes of the largest piece that is unpacked at once: a strip of rows, which may be the whole image, or a tile."""
    tags = image.tag_v2
    width = int(tags.get(_TILE_WIDTH, image.width))
    rows = int(tags.get(_TILE_LENGTH, min(tags.get(_ROWS, image.height), image.height)))
    bits = int(max(tags.get(_BITS, (1,))) * tags.get(_SAMPLES, 1))
    return width * rows * max(4 if tags.get(_PHOTOMETRIC) == _YCBCR else 1, -(-bits // 8))
