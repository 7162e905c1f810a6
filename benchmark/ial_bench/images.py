"""Photos as arrays: one decoder for every method, so that all see the same pixels.

A photo that cannot be decoded is an error that names its file. It is never replaced by a blank one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

    from ial_bench.datasets.photos import Photos

RGB: TypeAlias = npt.NDArray[np.uint8]
"""A decoded photo: uint8, [height, width, 3]."""

MAX_PIXELS = 89_478_485
"""A photo of more pixels than this is refused unread: a few kilobytes can unpack to gigabytes.

It is the size from which Pillow itself warns. Switching its warning off is no way: filters of warnings belong
to all threads, and photos are decoded in several.
"""

_VERIFY = "run `bench data verify` on the dataset to list every bad photo, then replace or remove them"


def decode(data: bytes, name: str) -> RGB:
    """Decode a photo to RGB, its EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images are converted, transparency is laid on black; the content decides
    the format, not the file's suffix.

    Args:
        data: the file's bytes.
        name: the file's name, for errors.

    Raises:
        ImageError: empty, truncated or not an image, or larger than `MAX_PIXELS`.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(f"{name} is empty (0 bytes)", _VERIFY)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "EPS":  # a program, which Pillow would have Ghostscript run
                raise UnidentifiedImageError
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{name} is {image.width} x {image.height} pixels, over the limit of {MAX_PIXELS:,}",
                    _VERIFY,
                )
            if image.format == "PNG":
                with Image.open(io.BytesIO(data)) as again:
                    again.verify()  # decoding alone does not look at the checksums
            return np.asarray(_to_rgb(_upright(image)))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image that can be read", _VERIFY) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # a warning, where it is an error
        raise ImageError(f"{name} is over the limit of {MAX_PIXELS:,} pixels", _VERIFY) from error
    except Exception as error:  # damaged files make Pillow raise OSError, SyntaxError, struct.error and more
        raise ImageError(f"{name} is damaged: {error}", _VERIFY) from error


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
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read photo {path}: {error.strerror}", _VERIFY) from error


def _upright(image: Image.Image) -> Image.Image:
    """`image` as its EXIF orientation says.

    ``ImageOps.exif_transpose`` also writes the EXIF block anew, and fails at one with odd entries.
    """
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    image.load()  # a TIFF turns itself here, and forgets its orientation
    turn = turns.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, without clipping deep images or dropping a palette's transparency silently."""
    if image.mode.startswith("I;16"):
        return _from_grey(np.asarray(image, dtype=np.float64) / 257.0)
    if image.mode in {"I", "F"}:  # 32-bit containers; PNGs of 16 bits arrive here with some Pillow versions
        grey = np.asarray(image, dtype=np.float64)
        if not np.isfinite(grey).all():
            raise ValueError("pixels that are not finite")
        top = 255.0 if grey.size == 0 or grey.max() <= 255.0 else max(65535.0, float(grey.max()))
        return _from_grey(grey * (255.0 / top))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        from PIL import Image as PillowImage

        rgba = image.convert("RGBA")
        black = PillowImage.new("RGBA", rgba.size, (0, 0, 0, 255))
        return PillowImage.alpha_composite(black, rgba).convert("RGB")
    return image.convert("RGB")


def _from_grey(grey: npt.NDArray[np.float64]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")


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
    """

    def __init__(
        self,
        load: Callable[[int], RGB],
        keys: npt.NDArray[np.uint64],
        positions: npt.NDArray[np.float64] | None = None,
        source: tuple[Photos, slice] | None = None,
    ) -> None:
        self._load = load
        self._keys = keys
        self._positions = positions
        self._source = source

    @classmethod
    def from_arrays(
        cls,
        photos: Sequence[RGB],
        keys: npt.NDArray[np.uint64] | None = None,
        positions: npt.NDArray[np.float64] | None = None,
    ) -> ImageBatch:
        """A batch of photos that are already decoded."""
        numbers = np.arange(len(photos), dtype=np.uint64) if keys is None else keys
        return cls(photos.__getitem__, numbers, positions)

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
