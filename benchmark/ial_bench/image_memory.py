"""How much memory it takes to decode a photo, told from its header: a few kilobytes can unpack to gigabytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 450_000_000
"""A photo that takes more than this is refused unread; with interpreter and libraries, 500 MB are not passed."""

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM", "HEIF")
"""What is read, by Pillow's names: formats with a signature, of which it is known what they take. Others hold whole
files of which their header does not tell (icons), are unpacked by loops in Python, or are programs (PostScript)."""

_RESULT = 3  # bytes a pixel
# Bytes a pixel that a decoder holds beside Pillow's image, at most, as `tests/test_image_memory.py` measures them.
_DECODER = {"WEBP": 18, "AVIF": 16, "JPEG2000": 22, "PPM": 6, "HEIF": 8}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
_SCAN = 0xDA


def bytes_to_decode(image: Image.Image, data: bytes) -> int:
    """Bytes that decoding takes at its peak, the file's own among them.

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
    """Bytes of the coefficients that libjpeg keeps where a scan does not bring all of a block: 2 for each."""
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


def _frame(told: bytes) -> int:
    height, width = int.from_bytes(told[:2], "big"), int.from_bytes(told[2:4], "big")
    factors = [(f >> 4, f & 15) for f in told[6::3]]
    across, down = (max((f[i] for f in factors), default=1) or 1 for i in (0, 1))
    blocks = -(-width // (8 * across)) * -(-height // (8 * down))  # of the largest component's many
    return sum(128 * blocks * a * d for a, d in factors)


_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_LENGTH = 258, 262, 274, 277, 278, 322, 323
_YCBCR = 6


def _tiff_block(image: Any) -> int:
    """Bytes of the largest piece that is unpacked at once: a strip of rows, which may be the whole image, or a tile."""
    tags = image.tag_v2
    width = int(tags.get(_TILE_WIDTH, image.width))
    rows = int(tags.get(_TILE_LENGTH, min(tags.get(_ROWS, image.height), image.height)))
    bits = int(max(tags.get(_BITS, (1,))) * tags.get(_SAMPLES, 1))
    return width * rows * max(4 if tags.get(_PHOTOMETRIC) == _YCBCR else 1, -(-bits // 8))
