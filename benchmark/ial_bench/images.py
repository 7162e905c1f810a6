"""Photos as arrays: one decoder for every method, so that all see the same pixels.

A photo that cannot be decoded is an error that names its file. It is never replaced by a blank one.
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
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from ial_bench.errors import DataError, ImageError
from ial_bench.files import check_regular, check_storage
from ial_bench.image_memory import FORMATS, MAX_BYTES, bytes_to_decode

if TYPE_CHECKING:
    from PIL import Image

    from ial_bench.datasets.photos import Photos

RGB: TypeAlias = npt.NDArray[np.uint8]
"""A decoded photo: uint8, [height, width, 3]."""

MAX_PIXELS = 89_478_485
"""A photo of more pixels than this is refused unread, whatever it takes.

It is the size from which Pillow itself warns. Switching its warning off is no way: filters of warnings belong
to all threads, and photos are decoded in several.
"""

_BAND_PIXELS = 1 << 17  # that are converted at once
_SMALLER = "make it smaller, or store it as a baseline JPEG, of which 60 million pixels in colour are read"
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_HEAD = 12  # bytes that tell
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
    """Refuse what is no image by its content. Nothing is decoded: an image may still be damaged further on.

    Raises:
        ImageError: not an image, as of `decode`.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_readable(data)):
            return
    except Exception as error:  # as in `decode`
        raise ImageError(f"{name} is not an image that can be read", _VERIFY) from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The photo at `path`, for what its header tells; its pixels are not read.

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
    """The error of a file that no decoder knows."""
    if _is_heif(data):
        return ImageError(f"{name} is a HEIF image, which needs a decoder of its own", "pip install 'ial-bench[heic]'")
    return ImageError(f"{name} is not an image that can be read ({', '.join(_formats())})", _VERIFY)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _readable(data: bytes) -> list[str]:
    """Those of `FORMATS` that are read here. The plugin of HEIF, slow to load, is left alone where `data` are none."""
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
    """Those of `FORMATS` that Pillow reads by itself."""
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
    """Compare the checksums of all chunks, at which decoding alone does not look."""
    view, at, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", view, at)
        (told,) = struct.unpack_from(">I", view, at + 8 + length)
        if zlib.crc32(view[at + 4 : at + 8 + length]) != told:
            raise ValueError(f"the checksum of its chunk {kind.decode('ascii', 'replace')} is wrong")
        at += 12 + length


# By EXIF orientation: the upright array, seen as it is stored. (``ImageOps.exif_transpose`` also writes the EXIF block
# anew, and fails at one with odd entries.)
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
    """The pixels of `image`, upright. They are converted band by band: a number a pixel in float64 are gigabytes."""
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
    """What makes RGB of a band of `image`, without clipping deep images or dropping a palette's transparency silently.

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
    """The value of `image` that becomes white: 255, or of a deeper one 65,535 or its largest."""
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


class ImageBatch(Sequence[RGB]):
    """The photos a method is asked about: pixels, and nothing that tells where they were taken.

    Photos are decoded when they are taken out, so that a batch may be larger than memory.

    Args:
        load: gives photo i, decoded.
        keys: uint64 [n], an opaque number per photo that stays the same from run to run, for methods that
            draw at random per photo.
        positions: float64 [n, 2], true latitude and longitude in degrees; only given to methods that
            declare themselves oracles.
        source: the dataset rows behind the batch, by which the engine finds cached features. Not part of
            the contract.
        names: of the photos, for errors. Not part of the contract.
    """

    def __init__(
        self,
        load: Callable[[int], RGB],
        keys: npt.NDArray[np.uint64],
        positions: npt.NDArray[np.float64] | None = None,
        source: tuple[Photos, slice] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._load = load
        self._keys = keys
        self._positions = positions
        self._source = source
        self._names = names

    @classmethod
    def from_arrays(
        cls,
        photos: Sequence[RGB],
        keys: npt.NDArray[np.uint64] | None = None,
        positions: npt.NDArray[np.float64] | None = None,
        names: Sequence[str] | None = None,
    ) -> ImageBatch:
        """A batch of photos that are already decoded."""
        numbers = np.arange(len(photos), dtype=np.uint64) if keys is None else keys
        return cls(photos.__getitem__, numbers, positions, names=names)

    @property
    def keys(self) -> npt.NDArray[np.uint64]:
        """uint64 [n]: an opaque, stable number per photo."""
        return self._keys

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """float64 [n, 2]: true latitude and longitude, for oracles alone.

        Raises:
            PermissionError: the method has not declared ``MethodInfo(oracle=True)``.
        """
        if self._positions is None:
            raise PermissionError("the true positions of queries are for oracles: declare MethodInfo(oracle=True)")
        return self._positions

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> RGB: ...
    @overload
    def __getitem__(self, index: slice) -> ImageBatch: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            rows = range(len(self))[index]
            return ImageBatch(
                lambda i: self._load(rows[i]),
                self._keys[index],
                None if self._positions is None else self._positions[index],
            )
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._load(index % len(self))
