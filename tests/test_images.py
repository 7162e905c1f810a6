"""Photos as arrays: every kind of file decodes to the right pixels, or to an error that names it."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import subprocess
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from ial_bench import images
from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ImageError
from ial_bench.image_batch import ImageBatch
from ial_bench.images import MAX_PIXELS, RGB, decode, read

Pixels = npt.NDArray[np.uint8]


def scene(height: int = 24, width: int = 20) -> Pixels:
    """A smooth picture whose corners all differ, so that a turn or a flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [255 * y / (height - 1), 255 * x / (width - 1), np.full(x.shape, 128.0)]
    return np.asarray(np.rint(np.stack(bands, axis=-1)), dtype=np.uint8)


def encoded(image: Image.Image | Pixels, form: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG written by hand: `rows` compressed under a header that claims `width` x `height`."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def exif(orientation: int, extra: bytes = b"") -> bytes:
    """An EXIF block in big-endian TIFF, with the orientation and perhaps one `extra` entry of 12 bytes."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    count = 1 + bool(extra)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, count) + entry + extra + struct.pack(">I", 0)


class TestDecoding:
    def test_lossless_photo_comes_back_exactly(self) -> None:
        found = decode(encoded(scene(), "PNG"), "a.png")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, scene())

    @pytest.mark.parametrize(("form", "off"), [("JPEG", 6), ("WEBP", 6), ("BMP", 0), ("TIFF", 0), ("PPM", 0)])
    def test_other_formats(self, form: str, off: int) -> None:
        found = decode(encoded(scene(), form), "photo")
        assert found.shape == (24, 20, 3)
        assert np.abs(found.astype(int) - scene()).mean() <= off

    def test_content_decides_not_the_suffix(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        path.write_bytes(encoded(scene(), "PNG"))
        np.testing.assert_array_equal(read(path), scene())

    def test_grey(self) -> None:
        grey = scene()[..., 0]
        np.testing.assert_array_equal(decode(encoded(grey, "PNG"), "a"), np.repeat(grey[..., None], 3, axis=2))

    def test_one_bit(self) -> None:
        found = decode(encoded(Image.fromarray(scene()[..., 0] > 100), "PNG"), "a")
        np.testing.assert_array_equal(found[..., 0], np.where(scene()[..., 0] > 100, 255, 0))

    @pytest.mark.parametrize("form", ["PNG", "TIFF"])
    def test_deep_grey_is_scaled_not_clipped(self, form: str) -> None:
        deep = np.linspace(0, 65535, 24 * 20).reshape(24, 20).astype(np.uint16)
        found = decode(encoded(Image.fromarray(deep), form), "a")
        np.testing.assert_array_equal(found[..., 0], np.rint(deep / 257))
        assert (found[..., 0] == found[..., 1]).all()
        assert (found[..., 0] == found[..., 2]).all()

    def test_dark_deep_grey_stays_dark(self) -> None:
        """At night no pixel may reach 256; that does not make them 8-bit values."""
        found = decode(encoded(Image.fromarray(np.full((4, 4), 200, dtype=np.uint16)), "PNG"), "a")
        assert found.max() == round(200 / 257)

    def test_deep_colour(self) -> None:
        rows = b"".join(b"\0" + np.full((3, 3), 0x8080, dtype=">u2").tobytes() for _ in range(2))
        np.testing.assert_array_equal(decode(png(3, 2, rows, depth=16), "a"), np.full((2, 3, 3), 0x80))

    def test_floating_point(self) -> None:
        grey = np.array([[0.0, 127.5, 255.0]], dtype=np.float32)
        assert decode(encoded(Image.fromarray(grey), "TIFF"), "a")[0, :, 0].tolist() == [0, 128, 255]
        deep = np.array([[0.0, 32767.5, 65535.0]], dtype=np.float32)
        assert decode(encoded(Image.fromarray(deep), "TIFF"), "a")[0, :, 0].tolist() == [0, 128, 255]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_floating_point_that_is_no_number(self, value: float) -> None:
        grey = np.array([[0.0, value]], dtype=np.float32)
        with pytest.raises(ImageError, match=r"night\.tif is damaged: pixels that are not finite"):
            decode(encoded(Image.fromarray(grey), "TIFF"), "night.tif")

    def test_cmyk(self) -> None:
        inks = np.zeros((16, 48, 4), dtype=np.uint8)
        inks[:, :16, 0] = 255  # cyan
        inks[:, 16:32, 3] = 255  # black
        found = decode(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100), "a").astype(int)
        assert found.shape == (16, 48, 3)
        for column, colour in ((8, (0, 255, 255)), (24, (0, 0, 0)), (40, (255, 255, 255))):
            assert np.abs(found[8, column] - colour).max() <= 3

    def test_palette(self) -> None:
        flat = np.zeros((8, 8, 3), dtype=np.uint8)
        flat[:4], flat[4:] = (10, 200, 30), (250, 0, 60)
        found = decode(encoded(Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), "a")
        np.testing.assert_array_equal(found, flat)

    @pytest.mark.parametrize("form", ["PNG", "GIF"])
    def test_transparent_palette_entry_is_black(self, form: str) -> None:
        picture = Image.new("P", (4, 2))
        picture.putpalette([200, 100, 50, 7, 8, 9])
        picture.putdata([0, 1, 0, 1, 1, 1, 1, 1])
        found = decode(encoded(picture, form, transparency=0), "a")
        assert found[0].tolist() == [[0, 0, 0], [7, 8, 9], [0, 0, 0], [7, 8, 9]]

    def test_palette_with_shades_of_transparency(self) -> None:
        picture = Image.new("P", (3, 1))
        picture.putpalette([200, 100, 50, 200, 100, 50, 200, 100, 50])
        picture.putdata([0, 1, 2])
        found = decode(encoded(picture, "PNG", transparency=bytes([0, 51, 255])), "a")
        assert found[0].tolist() == [[0, 0, 0], [40, 20, 10], [200, 100, 50]]

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparency_is_laid_on_black(self, mode: str) -> None:
        grey = np.full((1, 3), 200, dtype=np.uint8)
        alpha = np.array([[0, 51, 255]], dtype=np.uint8)
        bands = [grey, grey, grey, alpha] if mode == "RGBA" else [grey, alpha]
        picture = Image.merge(mode, [Image.fromarray(b) for b in bands])
        assert decode(encoded(picture, "PNG"), "a")[0].tolist() == [[0] * 3, [40] * 3, [200] * 3]

    def test_first_frame_of_an_animation(self) -> None:
        frames = [Image.new("RGB", (4, 4), c) for c in ("#ff0000", "#0000ff")]
        data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert decode(data, "a")[0, 0].tolist() == [255, 0, 0]


class TestBands:
    """Photos are converted some rows at a time; that changes no pixel."""

    FORMS: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("1", "PNG", {}), ("L", "PNG", {}), ("L", "PNG", {"transparency": 9}), ("LA", "PNG", {}), ("P", "GIF", {}),
        ("P", "PNG", {"transparency": bytes(range(0, 256, 2))}), ("RGB", "PNG", {}),
        ("RGB", "PNG", {"transparency": (0, 0, 128)}),
        ("RGBA", "PNG", {}), ("RGBA", "WEBP", {"lossless": True}), ("CMYK", "JPEG", {}), ("CMYK", "TIFF", {}),
        ("I;16", "PNG", {}), ("I;16", "TIFF", {}), ("I", "TIFF", {}), ("F", "TIFF", {}),
    )  # fmt: skip

    @staticmethod
    def stored(mode: str, form: str, options: dict[str, object], orientation: int) -> bytes:
        pixels = scene(40, 30)
        alpha = Image.fromarray(pixels[::-1, :, 0].copy())
        grey, colour = Image.fromarray(pixels[..., 0]), Image.fromarray(pixels)
        deep = pixels[..., 0].astype(np.float64) * 300 + pixels[..., 1]
        made = {
            "1": lambda: grey.convert("1"),
            "L": lambda: grey,
            "LA": lambda: Image.merge("LA", [grey, alpha]),
            "P": lambda: colour.quantize(100),
            "RGB": lambda: colour,
            "RGBA": lambda: Image.merge("RGBA", [*colour.split(), alpha]),
            "CMYK": lambda: Image.merge("CMYK", [*colour.split(), alpha]),
            "I;16": lambda: Image.fromarray(deep.astype(np.uint16)),
            "I": lambda: Image.fromarray((deep * 2 - 500).astype(np.int32)),
            "F": lambda: Image.fromarray(deep.astype(np.float32)),
        }[mode]()
        block = Image.Exif()
        block[0x0112] = orientation
        return encoded(made, form, **options, **({} if form == "GIF" else {"exif": block}))

    @pytest.mark.parametrize(("mode", "form", "options"), FORMS)
    def test_change_nothing(
        self, mode: str, form: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for orientation in range(1, 9):
            data = self.stored(mode, form, options, orientation)
            monkeypatch.setattr(images, "_BAND_PIXELS", 1 << 20)
            whole = decode(data, "a")
            assert whole.flags.c_contiguous
            assert not whole.flags.writeable
            for pixels in (1, 70, 900):  # one row, two and thirty
                monkeypatch.setattr(images, "_BAND_PIXELS", pixels)
                np.testing.assert_array_equal(decode(data, "a"), whole)

    def test_white_is_that_of_the_whole_photo(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A deep photo whose first rows are dark: they are not taken for 8-bit ones."""
        monkeypatch.setattr(images, "_BAND_PIXELS", 1)
        grey = np.array([[200.0], [65535.0], [131070.0]], dtype=np.float32)
        assert decode(encoded(Image.fromarray(grey), "TIFF"), "a")[:, 0, 0].tolist() == [0, 128, 255]
        late = np.array([[1.0], [2.0], [np.nan]], dtype=np.float32)
        with pytest.raises(ImageError, match="pixels that are not finite"):
            decode(encoded(Image.fromarray(late), "TIFF"), "a")


@pytest.mark.parametrize("form", ["ICO", "SGI", "TGA"])
def test_formats_that_are_not_of_photographs_are_not_read(form: str) -> None:
    with pytest.raises(ImageError, match=r"not an image that can be read \(JPEG, PNG, TIFF"):
        decode(encoded(scene(32, 32), form), "a")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
    def test_is_applied(self, orientation: int, form: str) -> None:
        block = Image.Exif()
        block[0x0112] = orientation
        lossless: dict[str, dict[str, object]] = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}
        options = lossless.get(form, {})
        data = encoded(scene(), form, exif=block, **options)
        turns: dict[int, Callable[[Pixels], Pixels]] = {
            1: lambda p: p,
            2: lambda p: p[:, ::-1],
            3: lambda p: p[::-1, ::-1],
            4: lambda p: p[::-1],
            5: lambda p: p.transpose(1, 0, 2),
            6: lambda p: np.rot90(p, -1),
            7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
            8: lambda p: np.rot90(p, 1),
        }
        upright = turns[orientation](scene())
        found = decode(data, "a").astype(int)
        assert found.shape == upright.shape
        assert np.abs(found - upright).max() <= (8 if form == "JPEG" else 0)

    def test_palette_and_transparency_survive_a_turn(self) -> None:
        picture = Image.new("P", (2, 1))
        picture.putpalette([200, 100, 50, 7, 8, 9])
        picture.putdata([0, 1])
        block = Image.Exif()
        block[0x0112] = 6  # to be turned clockwise: the left pixel comes on top
        found = decode(encoded(picture, "PNG", transparency=0, exif=block), "a")
        assert found.tolist() == [[[0, 0, 0]], [[7, 8, 9]]]

    def test_odd_entries_beside_it_do_no_harm(self) -> None:
        """Cameras write EXIF that cannot be written again: here text as the number of the resolution unit."""
        odd = struct.pack(">HHI4s", 0x0128, 2, 4, b"abc\0")
        data = encoded(scene(), "JPEG", exif=exif(6, odd), quality=100)
        with Image.open(io.BytesIO(data)) as image, pytest.raises(struct.error):
            ImageOps.exif_transpose(image)
        assert np.abs(decode(data, "a").astype(int) - np.rot90(scene(), -1)).max() <= 8

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_unknown_one_is_left_alone(self, orientation: int) -> None:
        data = encoded(scene(), "JPEG", exif=exif(orientation), quality=100)
        assert np.abs(decode(data, "a").astype(int) - scene()).max() <= 8


class TestBadFiles:
    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", r"is empty \(0 bytes\)"),
            (b"\0", "not an image"),
            (b"<html><body>404 Not Found</body></html>", "not an image"),
            (b"\xff\xd8\xff", "not an image|damaged"),
            (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
            (encoded(scene(), "JPEG")[:-200], "damaged: (?i:truncated)"),
            (encoded(scene(), "JPEG")[:-20], "damaged: .*truncated"),
            (encoded(scene(), "PNG")[:-13], "damaged"),
            (encoded(scene(200, 300), "PNG")[:-200], "damaged"),
            (encoded(scene(), "WEBP")[:60], "damaged|not an image"),
            (encoded(scene(), "TIFF")[:300], "damaged|not an image"),
            (png(0, 24, b""), "damaged|not an image"),
        ],
    )
    def test_is_an_error_that_names_the_file(self, data: bytes, why: str, tmp_path: Path) -> None:
        path = tmp_path / "street 12.jpg"
        path.write_bytes(data)
        with pytest.raises(ImageError, match=why) as caught:
            read(path)
        assert str(path) in caught.value.problem
        assert "bench data verify" in (caught.value.fix or "")

    def test_flipped_bit_in_a_png_is_found_by_its_checksum(self) -> None:
        """A PNG of stored (not compressed) pixels decodes with any byte changed; only the checksums tell."""
        rows = b"".join(b"\0" + row.tobytes() for row in scene())
        header = struct.pack(">IIBBBBB", 20, 24, 8, 2, 0, 0, 0)
        stored = zlib.compress(rows, 0)
        start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        data = bytearray(start + chunk(b"IDAT", stored) + chunk(b"IEND", b""))
        np.testing.assert_array_equal(decode(bytes(data), "a"), scene())
        data[len(start) + 8 + 700] ^= 1
        with pytest.raises(ImageError, match="damaged"):
            decode(bytes(data), "a")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="No such file") as caught:
            read(tmp_path / "gone.jpg")
        assert "gone.jpg" in caught.value.problem

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="cannot read photo"):
            read(tmp_path)

    @pytest.mark.parametrize("more", [-1, 1])
    def test_size_changed(self, tmp_path: Path, more: int) -> None:
        path = tmp_path / "photo.png"
        data = encoded(scene(), "PNG")
        path.write_bytes(data)
        np.testing.assert_array_equal(read(path, len(data)), scene())
        with pytest.raises(ImageError, match=rf"has {len(data)} bytes, but had {len(data) + more}"):
            read(path, len(data) + more)

    def test_error_crosses_processes(self) -> None:
        with pytest.raises(ImageError) as caught:
            decode(b"", "photo.jpg")
        error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert type(error) is ImageError
        assert (error.problem, error.fix) == (caught.value.problem, caught.value.fix)
        assert str(error) == str(caught.value)

    def test_postscript_is_not_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pillow has Ghostscript run such files, with the rights of the user."""
        started: list[object] = []
        monkeypatch.setattr(subprocess, "Popen", lambda *a, **_: started.append(a))
        monkeypatch.setattr(subprocess, "check_call", lambda *a, **_: started.append(a))
        monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
        data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "EPS"  # it is one, to Pillow
        with pytest.raises(ImageError, match="not an image that can be read"):
            decode(data, "photo.jpg")
        assert not started


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pixel is decoded, and so no memory taken for pixels, in a test that asks for this."""

    def load(_: object) -> None:
        raise AssertionError("pixels are decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.usefixtures("unread")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
class TestBombs:
    @pytest.mark.parametrize("side", [9_500, 13_000, 14_000, 30_000, 100_000, 2**31 - 1])
    def test_header_that_claims_too_much(self, side: int) -> None:
        data = png(side, side, b"\0" * 10_000)
        assert len(data) < 200
        with pytest.raises(ImageError, match=r"bomb\.png is .*over the limit of 89,478,485"):
            decode(data, "bomb.png")

    def test_whole_bomb(self) -> None:
        """Not only a header: the rows are all there, a thousand to one."""
        side, packer = 12_000, zlib.compressobj(9)
        rows = b"\0" * (10 * (3 * side + 1))
        packed = b"".join(packer.compress(rows) for _ in range(side // 10)) + packer.flush()
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
        assert len(data) < 500_000
        with pytest.raises(ImageError, match="is 12000 x 12000 pixels, over the limit"):
            decode(data, "bomb.png")

    def test_jpeg(self) -> None:
        data = encoded(scene(), "JPEG")
        size = struct.pack(">HH", 24, 20)
        assert data.count(size) == 1
        with pytest.raises(ImageError, match="over the limit"):
            decode(data.replace(size, struct.pack(">HH", 65_500, 65_500)), "bomb.jpg")


class TestLargePhoto:
    @pytest.mark.usefixtures("unread")
    @pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
    def test_where_warnings_are_errors(self) -> None:
        with pytest.raises(ImageError, match=r"bomb\.png is over the limit of 89,478,485 pixels"):
            decode(png(9_500, 9_500, b""), "bomb.png")

    def test_is_no_bomb(self) -> None:
        width, height = 9_000, 400
        assert width * height < MAX_PIXELS
        assert decode(encoded(Image.new("L", (width, height)), "PNG"), "panorama").shape == (height, width, 3)


class TestAnyBytes:
    """Whatever the bytes are: an array of the right kind, or an ImageError."""

    GOOD = (
        encoded(scene(), "JPEG"),
        encoded(scene(), "JPEG", exif=exif(6), progressive=True),
        encoded(scene(), "PNG"),
        encoded(Image.fromarray(scene()).quantize(8), "PNG", transparency=0, exif=exif(6)),
        encoded(Image.fromarray(scene()[..., 0].astype(np.uint16) * 257), "PNG"),
        encoded(scene(), "TIFF"),
    )

    @staticmethod
    def check(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Pillow's talk of odd EXIF
            with contextlib.suppress(ImageError):
                found = decode(data, "photo")
                assert found.dtype == np.uint8
                assert found.ndim == 3
                assert found.shape[2] == 3

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(
        st.sampled_from(GOOD),
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
        st.floats(0.02, 1),
    )
    def test_changed_bytes(self, data: bytes, changes: list[tuple[float, int]], kept: float) -> None:
        damaged = bytearray(data)
        for where, value in changes:
            damaged[int(where**3 * len(damaged))] = value  # most of them in the header
        self.check(bytes(damaged[: max(1, round(kept * len(damaged)))]))

    @pytest.mark.parametrize("which", range(len(GOOD)))
    def test_every_length(self, which: int) -> None:
        data = self.GOOD[which]
        for length in range(0, len(data), max(1, len(data) // 60)):
            self.check(data[:length])

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(
        st.binary(max_size=120), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"GIF89a"])
    )
    def test_noise(self, noise: bytes, start: bytes) -> None:
        self.check(start + noise)

    def test_every_entry_of_exif(self) -> None:
        """An EXIF block damaged at any byte is no reason to crash."""
        block = exif(6, struct.pack(">HHIHH", 0x0128, 3, 1, 2, 0))
        for i in range(6, len(block)):
            for value in (0, 1, 2, 7, 12, 255):
                damaged = block[:i] + bytes([value]) + block[i + 1 :]
                self.check(encoded(scene(4, 4), "JPEG", exif=damaged))


def test_threads_leave_the_filters_of_warnings_alone() -> None:
    """They belong to the whole process: changed in threads, they may stay changed."""
    data, before = encoded(scene(200, 200), "JPEG"), list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode(data, "photo"), range(200)))
    assert list(warnings.filters) == before


class TestImageBatch:
    @pytest.fixture
    def photos(self) -> list[RGB]:
        return [np.full((2, 3, 3), i, dtype=np.uint8) for i in range(5)]

    def test_is_a_sequence(self, photos: list[RGB]) -> None:
        batch = ImageBatch.from_arrays(photos)
        assert len(batch) == 5
        assert [int(photo[0, 0, 0]) for photo in batch] == [0, 1, 2, 3, 4]
        assert batch.keys.tolist() == [0, 1, 2, 3, 4]
        assert batch.keys.dtype == np.uint64

    @pytest.mark.parametrize("index", [0, 4, -1, -5, np.int64(3), np.int64(-2)])
    def test_index(self, photos: list[RGB], index: int) -> None:
        assert ImageBatch.from_arrays(photos)[index][0, 0, 0] == range(5)[index]

    @pytest.mark.parametrize("index", [5, -6, 100])
    def test_index_out_of_range(self, photos: list[RGB], index: int) -> None:
        with pytest.raises(IndexError):
            ImageBatch.from_arrays(photos)[index]

    def test_no_index_is_in_range_of_nothing(self) -> None:
        empty = ImageBatch.from_arrays([])
        assert (len(empty), list(empty), len(empty[0:3])) == (0, [], 0)
        with pytest.raises(IndexError):
            empty[0]

    @pytest.mark.parametrize(
        "part", [slice(1, 3), slice(None, None, -1), slice(-2, None), slice(3, 99), slice(4, 2), slice(0, 5, 2)]
    )
    def test_slice(self, photos: list[RGB], part: slice) -> None:
        positions = np.arange(10.0).reshape(5, 2)
        keys = np.arange(100, 105, dtype=np.uint64)
        batch = ImageBatch.from_arrays(photos, keys, positions)[part]
        assert isinstance(batch, ImageBatch)
        wanted = list(range(5))[part]
        assert [int(photo[0, 0, 0]) for photo in batch] == wanted
        assert batch.keys.tolist() == [100 + i for i in wanted]
        np.testing.assert_array_equal(batch.positions, positions[wanted])

    def test_slice_of_a_slice(self, photos: list[RGB]) -> None:
        batch = ImageBatch.from_arrays(photos)[1:][::-1][1:3]
        assert [int(photo[0, 0, 0]) for photo in batch] == [3, 2]
        assert batch[-1][0, 0, 0] == 2

    def test_positions_are_for_oracles(self, photos: list[RGB]) -> None:
        batch = ImageBatch.from_arrays(photos)
        for some in (batch, batch[1:3]):
            with pytest.raises(PermissionError, match="oracle=True"):
                _ = some.positions

    def test_shows_nothing_that_tells_the_answer(self, tiny_city: Dataset) -> None:
        batch = tiny_city.split("query").batch()
        public = {name for name in dir(batch) if not name.startswith("_")}
        assert public == {"keys", "positions", "from_arrays", "count", "index"}  # the last two are a sequence's
        with pytest.raises(PermissionError):
            _ = batch.positions
        photos = tiny_city.split("query")
        np.testing.assert_array_equal(photos.batch(oracle=True).positions, photos.positions)

    def test_keys_say_nothing_of_the_order(self, tiny_city: Dataset) -> None:
        """Photos lie in order of address, so a key that grew with the row would tell it."""
        keys = tiny_city.split("query").batch().keys
        assert len(set(keys.tolist())) == len(keys)
        assert not (np.diff(keys.astype(np.float64)) > 0).all()
        assert np.array_equal(tiny_city.split("query").batch(slice(3, 9)).keys, keys[3:9])

    def test_batch_of_a_dataset_decodes_its_photos(self, tiny_city: Dataset) -> None:
        photos = tiny_city.split("query")
        batch = photos.batch(slice(4, 8))
        assert len(batch) == 4
        for i in range(4):
            with Image.open(photos.path(4 + i)) as image:
                np.testing.assert_array_equal(batch[i], np.asarray(image.convert("RGB")))

    def test_photos_are_decoded_when_taken(self) -> None:
        taken: list[int] = []

        def load(i: int) -> RGB:
            taken.append(i)
            return np.zeros((1, 1, 3), dtype=np.uint8)

        batch = ImageBatch(load, np.arange(1_000_000, dtype=np.uint64))
        _ = batch[10:20][3], batch[-1]
        assert taken == [13, 999_999]
