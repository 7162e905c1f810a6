"""Photos from CSV, GeoJSON and EXIF; what is set aside, and what stops a build."""

from __future__ import annotations

import json
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from ial_bench import images
from ial_bench.errors import DataError
from ial_bench.partition.exif import NO_HEMISPHERE, NO_POSITION, UNREADABLE
from ial_bench.partition.photos import ABSOLUTE, SourcePhoto, check_degrees, read_photos
from ial_bench.partition.places import places_of

UTC = timezone.utc


def day(year: int, month: int, of_month: int) -> datetime:
    return datetime(year, month, of_month, tzinfo=UTC)


def photo(folder: Path, name: str, exif: Image.Exif | bytes | None = None) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (len(name), 9, 9)).save(folder / name, exif=exif or Image.Exif())
    return name


def table(folder: Path, text: str) -> Path:
    path = folder / "photos.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_with_everything(tmp_path: Path) -> None:
    photo(tmp_path, "a/1.jpg")
    row = "x1,./a/1.jpg,52.2,0.1,90,p7,2024-05-06,d1"
    found = read_photos(table(tmp_path, f"photo_id,path,lat,lon,heading,place_id,date,sequence\n{row}\n"))
    assert found.photos == [SourcePhoto("a/1.jpg", "x1", 52.2, 0.1, 90.0, "p7", day(2024, 5, 6), "d1")]
    assert found.images == tmp_path
    assert not found.set_aside


def test_other_names_of_columns_and_another_folder(tmp_path: Path) -> None:
    photo(tmp_path / "pictures", "1.jpg")
    path = table(tmp_path, "\ufefffilename,latitude,lng\n1.jpg,52.2,0.1\n")
    (only,) = read_photos(path, tmp_path / "pictures").photos
    assert (only.photo_id, only.lat, only.lon, only.place, only.taken) == ("1.jpg", 52.2, 0.1, "", None)
    assert np.isnan(only.heading)


def test_what_cannot_be_used_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    photo(tmp_path, "good.jpg")
    for name in ("nan.jpg", "text.jpg", "zero.jpg"):
        photo(tmp_path, name)
    (tmp_path / "empty.jpg").touch()
    rows = ["good.jpg,52,0.1", "nan.jpg,NaN,0.1", "text.jpg,north,0.1", "zero.jpg,0,0", "empty.jpg,52,0.1",
            "gone.jpg,52,0.1", "../up.jpg,52,0.1", ",52,0.1"]  # fmt: skip
    found = read_photos(table(tmp_path, "path,lat,lon\n" + "\n".join(rows) + "\n"))
    assert [p.path for p in found.photos] == ["good.jpg"]
    assert dict(found.set_aside) == {
        "nan.jpg": "no position", "text.jpg": "its lat is not a number: 'north'", "zero.jpg": "position 0, 0",
        "empty.jpg": "empty file", "gone.jpg": "no such file", "../up.jpg": "unsafe path", "": "no path",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lat,lon\n1.jpg,52,0.1\n1.jpg,53,0.2\n", "1 photos have their id twice: '1.jpg'"),
        ("photo_id,path,lat,lon\na,1.jpg,52,0.1\nb,1.jpg,52,0.1\n", "their path twice: '1.jpg'"),
        ("path,lat\n1.jpg,52\n", "columns path, lat, and none for lon"),
        ("", "is empty"),
        ("path,utm_easting,utm_northing\n1.jpg,3,4\n", "UTM metres where degrees are expected"),
        ("path,lat,lon\n", "no photo of .* it has none"),
        ("path,lat,lon\n2.jpg,52,0.1\n", r"1 x no such file(.|\n)*--images DIR"),
    ],
)
def test_tables_that_stop_a_build(tmp_path: Path, text: str, message: str) -> None:
    photo(tmp_path, "1.jpg")
    with pytest.raises(DataError, match=message):
        read_photos(table(tmp_path, text))


def test_geojson_points(tmp_path: Path) -> None:
    photo(tmp_path, "1.jpg")
    photo(tmp_path, "2.jpg")
    features: list[dict[str, Any]] = [
        {"type": "Feature", "properties": {"path": "1.jpg", "heading": 45},
         "geometry": {"type": "Point", "coordinates": [0.1, 52.2]}},
        {"type": "Feature", "properties": {"path": "2.jpg"}, "geometry": None},
    ]  # fmt: skip
    path = tmp_path / "photos.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    found = read_photos(path)
    assert [(p.lat, p.lon, p.heading) for p in found.photos] == [(52.2, 0.1, 45.0)]
    assert found.set_aside == [("2.jpg", "no position")]


def gps(lat: float, lon: float, heading: float | None = None) -> Image.Exif:
    """EXIF with a position, as degrees, minutes and seconds."""
    exif = Image.Exif()
    parts = [(int(v), int(v % 1 * 60), v * 60 % 1 * 60) for v in (abs(lat), abs(lon))]
    block: dict[int, Any] = {1: "N" if lat >= 0 else "S", 2: parts[0], 3: "E" if lon >= 0 else "W", 4: parts[1]}
    exif[0x8825] = block | ({} if heading is None else {17: heading})
    exif[0x0132] = "2024:05:06 07:08:09"
    return exif


def test_exif_positions(tmp_path: Path) -> None:
    photo(tmp_path, "a/south.jpg", gps(-33.8567, 151.2152, 270.0))
    photo(tmp_path, "west.jpg", gps(40.4406, -79.9959))
    photo(tmp_path, "none.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    found = read_photos(tmp_path)
    south, west = found.photos
    assert (south.path, south.heading, south.taken) == ("a/south.jpg", 270.0, datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC))
    assert np.allclose([south.lat, south.lon, west.lat, west.lon], [-33.8567, 151.2152, 40.4406, -79.9959], atol=1e-5)
    (broken, why), none = found.set_aside
    assert (broken, none) == ("broken.jpg", ("none.jpg", NO_POSITION))
    assert why.startswith("not an image that can be read")


def test_exif_without_gps_and_folders_without_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photo in"):
        read_photos(tmp_path)
    photo(tmp_path, "none.jpg")
    with pytest.raises(DataError, match=r"1 x no GPS position in its EXIF data(.|\n)*--photos CSV"):
        read_photos(tmp_path)


def position(lat: Any, lat_ref: Any, lon: Any, lon_ref: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x8825] = {k: v for k, v in {1: lat_ref, 2: lat, 3: lon_ref, 4: lon}.items() if v is not None}
    return exif


def signed(lat: int, lat_ref: str, lon: int, lon_ref: str) -> bytes:
    """A position in signed ten-thousandths of a degree, which Pillow does not write."""
    tags = [(1, 2, lat_ref.encode()), (2, 10, lat), (3, 2, lon_ref.encode()), (4, 10, lon)]
    at = 26 + 2 + 12 * len(tags) + 4
    entries, numbers = b"", b""
    for tag, kind, value in tags:
        if isinstance(value, bytes):
            entries += struct.pack(">HHI4s", tag, kind, 2, value)
        else:
            entries += struct.pack(">HHII", tag, kind, 1, at + len(numbers))
            numbers += struct.pack(">ii", value, 10_000)
    head = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8825, 4, 1, 26, 0)
    return head + struct.pack(">H", len(tags)) + entries + bytes(4) + numbers


NONE = IFDRational(0, 0)
FORMS: dict[str, Image.Exif | bytes] = {
    "words": position((33, 51, 24.12), "South", (151, 12, 54.72), "East"),
    "small letters": position((33, 51, 24.12), "s", (151, 12, 54.72), "e "),
    "one number": position((33.8567,), "S", (151.2152,), "E"),
    "degrees and minutes": position((33, 51.402), "S", (151, 12.912), "E"),
    "no seconds": position((33, 51.402, NONE), "S", (151, 12.912, NONE), "E"),
    "signed and lettered alike": signed(-338567, "S", 1512152, "E"),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_position_in_many_forms(tmp_path: Path, form: str) -> None:
    photo(tmp_path, "1.jpg", FORMS[form])
    (only,) = read_photos(tmp_path).photos
    assert (only.lat, only.lon) == pytest.approx((-33.8567, 151.2152), abs=1e-5)


FAULTS: dict[str, tuple[Image.Exif | bytes, str]] = {
    "no letters": (position((33, 51, 24), None, (151, 12, 54), None), NO_HEMISPHERE),
    "one letter": (position((33, 51, 24), "S", (151, 12, 54), None), NO_HEMISPHERE),
    "empty letters": (position((33, 51, 24), "", (151, 12, 54), "\0"), NO_HEMISPHERE),
    "a letter of the other axis": (position((33, 51, 24), "E", (151, 12, 54), "S"), UNREADABLE),
    "north of a negative latitude": (signed(-338567, "N", 1512152, "E"), UNREADABLE),
    "minutes beyond sixty": (position((33, 95, 0), "S", (151, 12, 54), "E"), UNREADABLE),
    "no minutes": (position((33, NONE, 12), "S", (151, 12, 54), "E"), UNREADABLE),
    "only empty numbers": (position((NONE,) * 3, "S", (NONE,) * 3, "E"), NO_POSITION),
    "a latitude alone": (position((33, 51, 24), "S", None, None), NO_POSITION),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_absent_is_told_from_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    exif, reason = FAULTS[name]
    photo(tmp_path, "good.jpg", FORMS["words"])
    photo(tmp_path, "odd.jpg", exif)
    assert read_photos(tmp_path).set_aside == [("odd.jpg", reason)]


def test_an_unknown_compass_and_dates_in_exif(tmp_path: Path) -> None:
    for name, heading, date in (("1.jpg", NONE, "0000:00:00 00:00:00"), ("2.jpg", 450.0, "last summer")):
        exif = gps(40.0, -80.0)
        exif[0x8825] = {**exif[0x8825], 17: heading}
        exif[0x0132] = date
        photo(tmp_path, name, exif)
    found = read_photos(tmp_path)
    first, second = found.photos
    assert np.isnan(first.heading)
    assert second.heading == 90.0
    assert first.taken is second.taken is None
    assert found.notes == ["1 photos have a date in their EXIF data that cannot be read"]


def test_every_file_of_a_folder_is_used_or_listed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.load(gps(40.0, -80.0).tobytes())
    used = ["1.jpg", "2.jfif", "3.JPEG", "4.png", "5.webp", "6.tiff", "7.jpg_large", "8.jp2", "no suffix"]
    forms = {"4.png": "PNG", "5.webp": "WEBP", "6.tiff": "TIFF", "8.jp2": "JPEG2000"}
    for name in used:
        Image.new("RGB", (8, 8)).save(tmp_path / name, forms.get(name, "JPEG"), exif=exif)
    listed = {
        "empty.jpg": b"",
        "cut.jpg": b"\xff\xd8\xff",
        "notes.txt": b"text",
        ".DS_Store": b"\0\1",
        "phone.heic": HEIC,
    }
    for name, data in listed.items():
        (tmp_path / name).write_bytes(data)
    found = read_photos(tmp_path)
    assert {p.path for p in found.photos} == set(used) - {"8.jp2"}  # Pillow writes no EXIF data into it
    reasons = dict(found.set_aside)
    assert reasons.keys() == {*listed, "8.jp2"}
    assert reasons["8.jp2"] == NO_POSITION
    assert reasons["empty.jpg"] == "empty (0 bytes)"
    assert reasons["notes.txt"].startswith("not an image that can be read")


HEIC = b"\0\0\0\x18ftypheic" + bytes(12)


def test_photos_of_phones_need_a_plugin_and_are_read_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "1.HEIC", "HEIF", exif=gps(40.0, -80.0))
    (only,) = read_photos(tmp_path).photos
    assert (only.lat, only.lon) == pytest.approx((40.0, -80.0))
    assert np.abs(images.read(tmp_path / "1.HEIC").mean(axis=(0, 1)) - (200, 30, 30)).max() < 8
    monkeypatch.setattr(images, "_with_heif", lambda: ["JPEG"])
    with pytest.raises(DataError, match=r"1 x a HEIF image, which needs a decoder of its own"):
        read_photos(tmp_path)


def test_odd_headings_and_dates_of_a_table(tmp_path: Path) -> None:
    for i in range(3):
        photo(tmp_path, f"{i}.jpg")
    rows = ["0.jpg,52,0.1,NE,2024-06-01", "1.jpg,52,0.1,-1,0000-00-00", "2.jpg,52,0.1,-90,1717230600000"]
    found = read_photos(table(tmp_path, "path,lat,lon,compass_angle,captured_at\n" + "\n".join(rows) + "\n"))
    assert [p.heading for p in found.photos[2:]] == [270.0]
    assert np.isnan([p.heading for p in found.photos[:2]]).all()
    assert [p.taken and p.taken.year for p in found.photos] == [2024, None, 2024]
    assert found.notes == ["1 photos have a heading that is not a number, such as 'NE': it is left out"]
    with pytest.raises(DataError, match=r"1 photos have a date that cannot be read, such as '06/01/2024'"):
        read_photos(table(tmp_path, "path,lat,lon,date\n0.jpg,52,0.1,06/01/2024\n1.jpg,52,0.1,2024-06-01\n"))


def test_names_in_another_spelling_of_letters(tmp_path: Path) -> None:
    """Marks apart on the disk, whole letters in the table: one file; both in the table are two rows of it."""
    whole, apart = (normalize(form, "Straß\u00e9/Señor.jpg") for form in ("NFC", "NFD"))
    photo(tmp_path, apart)
    found = read_photos(table(tmp_path, f"path,lat,lon\n{whole},52,0.1\n"))
    assert [(p.path, p.photo_id) for p in found.photos] == [(apart, whole)]
    with pytest.raises(DataError, match="1 photos have their path twice"):
        read_photos(table(tmp_path, f"path,lat,lon\n{whole},52,0.1\n{apart},52,0.1\n"))


def test_absolute_paths(tmp_path: Path) -> None:
    photo(tmp_path, "a/1.jpg")
    rows = [f"{tmp_path}/a/1.jpg,52,0.1", "/elsewhere/2.jpg,52,0.1", "C:\\photos\\3.jpg,52,0.1"]
    found = read_photos(table(tmp_path, "path,lat,lon\n" + "\n".join(rows) + "\n"))
    assert [p.path for p in found.photos] == ["a/1.jpg"]
    assert {reason for _, reason in found.set_aside} == {ABSOLUTE}
    with pytest.raises(DataError, match=r"an absolute path that does not lie below the images(.|\n)*--images DIR"):
        read_photos(table(tmp_path, "path,lat,lon\n" + "\n".join(rows[1:]) + "\n"))


def test_views_seconds_apart_are_one_place_on_either_side_of_midnight() -> None:
    at = datetime(2024, 6, 1, 23, 59, 50, tzinfo=UTC)
    moments = [at, at + timedelta(seconds=20), at + timedelta(hours=30)]
    photos = [SourcePhoto(f"{i}.jpg", f"{i}.jpg", 52.0, 0.1, taken=moment) for i, moment in enumerate(moments)]
    assert [p.photos for p in places_of(photos)] == [(0, 1), (2,)]


def degrees_of(tmp_path: Path, *rows: str) -> Path:
    for i in range(len(rows)):
        photo(tmp_path, f"{i}.jpg")
    return table(tmp_path, "path,lat,lon\n" + "".join(f"{i}.jpg,{row}\n" for i, row in enumerate(rows)))


def test_positions_that_are_no_degrees(tmp_path: Path) -> None:
    swapped = degrees_of(tmp_path, "-122.4,37.7", "-122.3,37.8")
    with pytest.raises(DataError, match=r"latitude and longitude swapped: -122.4 is no latitude, 37.7 could be one"):
        check_degrees(read_photos(swapped), swapped)
    metres = degrees_of(tmp_path, "303182.7,5787755.1")
    with pytest.raises(DataError, match="look like metres of a map projection"):
        check_degrees(read_photos(metres), metres)
    one = degrees_of(tmp_path, "52.2,0.1", "52.2,0.2", "91.5,0.2")
    found = read_photos(one)
    check_degrees(found, one)
    assert [p.path for p in found.photos] == ["0.jpg", "1.jpg"]
    assert found.set_aside == [("2.jpg", "no latitude and longitude: 91.5, 0.2")]


def test_places(tmp_path: Path) -> None:
    """Given ids count; else photos within 3 m (here 1.1 m) of one day, however they are chained."""
    at = [SourcePhoto(f"{i}.jpg", f"{i}.jpg", 52.0 + 1e-5 * i, 0.1, taken=day(2024, 1, 1)) for i in range(3)]
    later = SourcePhoto("3.jpg", "3.jpg", 52.0, 0.1, taken=day(2024, 2, 1))
    far = SourcePhoto("4.jpg", "4.jpg", 52.001, 0.1)
    given = [SourcePhoto(f"{i}.jpg", f"{i}.jpg", 52.0, 0.1, place="pano") for i in (5, 6)]
    found = places_of([*at, later, far, *given])
    assert {p.name: p.photos for p in found} == {"0.jpg": (0, 1, 2), "3.jpg": (3,), "4.jpg": (4,), "pano": (5, 6)}
    assert found[0].position == pytest.approx([52.00001, 0.1])
