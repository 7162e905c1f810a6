"""What decoding photos takes, each in a process of its own: `python tests/support/decoding_memory.py FOLDER KIND...`.

Prints a line of JSON a kind: bytes of the file, bytes that `bytes_to_decode` tells, bytes by which the process grew at
its peak, bytes of the whole process at its peak, and the error, if any. For Linux.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, features

from ial_bench.errors import ImageError
from ial_bench.images import bytes_to_decode, decode

HEIC = importlib.util.find_spec("pillow_heif") is not None
if HEIC:
    import pillow_heif

    pillow_heif.register_heif_opener()
FAST: dict[str, Any] = {"enc_params": {"preset": "ultrafast"}}  # of the encoder of HEIF
SIDE = 2000
LARGE = 9_400  # 88 million pixels, within the limit of pixels

Pixels = npt.NDArray[Any]


def picture(mode: str, side: int) -> Image.Image:
    """Columns of every value that a pixel can have; of deep ones broad columns, which are packed sooner."""
    if mode == "P":
        return picture("L", side).convert("P")
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}.get(mode)
    columns = (np.arange(side) // 64 * 37 if deep else np.arange(side)).astype(deep or np.uint8)
    if deep:
        return Image.fromarray(np.broadcast_to(columns, (side, side)).copy())
    grey = Image.fromarray(np.broadcast_to(columns, (side, side)).copy())
    if mode in {"L", "1"}:
        return grey.convert(mode)
    return Image.merge(mode, [grey] * len(Image.new(mode, (1, 1)).getbands()))


def stored(mode: str, form: str, side: int = SIDE, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        picture(mode, side).save(buffer, form, **options)
        return buffer.getvalue()

    return make


def one_strip(mode: str, side: int = SIDE, **options: Any) -> Callable[[], bytes]:
    """A TIFF that is unpacked in one piece."""

    def make() -> bytes:
        TiffImagePlugin.STRIP_SIZE = 1 << 31
        return stored(mode, "TIFF", side, compression="tiff_lzw", **options)()

    return make


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind: bytes, head: bytes) -> Callable[[], bytes]:
    """A small PNG with a chunk of half a megabyte that unpacks to a hundred."""

    def make() -> bytes:
        packed = zlib.compress(bytes(100_000_000), 1)
        data = stored("RGB", "PNG", 16)()
        return data[:33] + chunk(kind, head + packed) + data[33:]

    return make


def frames(form: str, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        first, *others = (Image.new("L", (300, 300), i) for i in range(256))
        buffer = io.BytesIO()
        first.save(buffer, form, save_all=True, append_images=others, **options)
        return buffer.getvalue()

    return make


KINDS: dict[str, Callable[[], bytes]] = {
    "jpeg": stored("RGB", "JPEG", subsampling=0),
    "jpeg-progressive": stored("RGB", "JPEG", subsampling=0, progressive=True),
    "jpeg-halved-progressive": stored("RGB", "JPEG", subsampling=2, progressive=True),
    "jpeg-grey-progressive": stored("L", "JPEG", progressive=True),
    "jpeg-cmyk-progressive": stored("CMYK", "JPEG", progressive=True),
    "jpeg-turned": stored(
        "RGB", "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    ),
    "png": stored("RGB", "PNG", compress_level=1),
    "png-1": stored("1", "PNG"),
    "png-grey": stored("L", "PNG"),
    "png-grey-alpha": stored("LA", "PNG"),
    "png-alpha": stored("RGBA", "PNG"),
    "png-16": stored("I;16", "PNG"),
    "png-palette-transparent": stored("P", "PNG", transparency=bytes(range(256))),
    "png-colour-transparent": stored("RGB", "PNG", transparency=(1, 2, 3)),
    "tiff": stored("RGB", "TIFF"),
    "tiff-16": stored("I;16", "TIFF", compression="tiff_deflate"),
    "tiff-32": stored("I", "TIFF", compression="tiff_deflate"),
    "tiff-float": stored("F", "TIFF", compression="tiff_deflate"),
    "tiff-jpeg": stored("RGB", "TIFF", compression="jpeg"),
    "tiff-turned": stored("RGB", "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
    "tiff-one-strip": one_strip("RGB"),
    "tiff-one-strip-float": one_strip("F"),
    "tiff-one-strip-16": one_strip("I;16"),
    "gif": stored("P", "GIF"),
    "bmp": stored("RGB", "BMP"),
    "ppm": stored("RGB", "PPM"),
    "webp": stored("RGB", "WEBP", method=0),
    "webp-lossless": stored("RGBA", "WEBP", lossless=True, method=0, quality=0),
    "jpeg2000": stored("RGB", "JPEG2000", 1000),
    "jpeg2000-alpha": stored("RGBA", "JPEG2000", 1000),
    "jpeg2000-16": stored("I;16", "JPEG2000", 1000),
    **({"avif": stored("RGBA", "AVIF", speed=10, subsampling="4:4:4")} if features.check("avif") else {}),
    **({"heic": stored("RGB", "HEIF", **FAST), "heic-alpha": stored("RGBA", "HEIF", **FAST)} if HEIC else {}),
    "text": with_chunk(b"zTXt", b"Comment\0\0"),
    "long-text": with_chunk(b"iTXt", b"Comment\0\1\0\0\0"),
    "profile": with_chunk(b"iCCP", b"profile\0\0"),
    "gif-frames": frames("GIF"),
    "tiff-frames": frames("TIFF", compression="tiff_deflate"),
    "large-16": stored("I;16", "PNG", LARGE),
    "large-float": stored("F", "TIFF", 7_700, compression="tiff_deflate"),
    "large-jpeg": stored("RGB", "JPEG", 7_900),
    "too-large-webp": stored("RGB", "WEBP", 5_000, method=0),
    "too-large-jpeg": stored("RGB", "JPEG", 6_800, subsampling=0, progressive=True),
}


def figure(name: str) -> int:
    """Of this process, in bytes."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def measure(file: Path) -> dict[str, Any]:
    data, told, error = file.read_bytes(), 0, ""
    with contextlib.suppress(ValueError), Image.open(io.BytesIO(data)) as image:
        told = bytes_to_decode(image, data)
    warm_up()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = figure("VmRSS")
    try:
        decode(data, file.name)
    except ImageError as caught:
        error = caught.problem
    peak = figure("VmHWM")
    return {"file": len(data), "told": told, "grew": peak - before, "process": peak, "error": error}


def warm_up() -> None:
    """What libraries load at their first photo, whatever its size, is not counted."""
    for mode, form in (
        ("RGB", "JPEG"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
        ("F", "TIFF"),
        ("RGB", "WEBP"),
        *[("RGB", "HEIF")] * HEIC,
    ):
        decode(stored(mode, form, 64)(), f"{mode}.{form}")


def main(folder: Path, kinds: list[str]) -> None:
    Image.init()
    for kind in kinds:
        file = folder / kind
        # One process makes it and another measures: memory that was freed would be there already.
        for work in (lambda k=kind, f=file: f.write_bytes(KINDS[k]()), lambda k=kind, f=file: tell(k, measure(f))):
            if (child := os.fork()) == 0:
                work()
                sys.stdout.flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0, kind


def tell(kind: str, told: dict[str, Any]) -> None:
    print(json.dumps({"kind": kind, **told}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(KINDS))
