"""Photos from CSV, GeoJSON and EXIF; what is set aside, and what stops a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ial_bench.build.checks import check_degrees
from ial_bench.build.photos import NO_EXIF, SourcePhoto, places_of, read_photos
from ial_bench.errors import DataError


def photo(folder: Path, name: str, exif: Image.Exif | None = None) -> str:
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
    assert found.photos == [SourcePhoto("a/1.jpg", "x1", 52.2, 0.1, 90.0, "p7", "2024-05-06", "d1")]
    assert found.images == tmp_path
    assert not found.set_aside


def test_other_names_of_columns_and_another_folder(tmp_path: Path) -> None:
    photo(tmp_path / "pictures", "1.jpg")
    path = table(tmp_path, "\ufefffilename,latitude,lng\n1.jpg,52.2,0.1\n")
    (only,) = read_photos(path, tmp_path / "pictures").photos
    assert (only.photo_id, only.lat, only.lon, only.place, only.date) == ("1.jpg", 52.2, 0.1, "", "")
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
        "nan.jpg": "no position", "text.jpg": "no position", "zero.jpg": "position 0, 0", "empty.jpg": "empty file",
        "gone.jpg": "no such file", "../up.jpg": "unsafe path", "": "no path",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lat,lon\n1.jpg,52,0.1\n1.jpg,53,0.2\n", "1 photos have their id twice: '1.jpg'"),
        ("photo_id,path,lat,lon\na,1.jpg,52,0.1\nb,1.jpg,52,0.1\n", "their path twice: '1.jpg'"),
        ("path,lat\n1.jpg,52\n", "columns path, lat, and none for lon"),
        ("", r"columns \(none\), and none for path"),
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
    assert (south.path, south.heading, south.date) == ("a/south.jpg", 270.0, "2024-05-06T07:08:09")
    assert np.allclose([south.lat, south.lon, west.lat, west.lon], [-33.8567, 151.2152, 40.4406, -79.9959], atol=1e-5)
    assert found.set_aside == [("broken.jpg", NO_EXIF), ("none.jpg", NO_EXIF)]


def test_exif_without_gps_and_folders_without_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photo in"):
        read_photos(tmp_path)
    photo(tmp_path, "none.jpg")
    with pytest.raises(DataError, match=r"1 x no GPS position in its EXIF data(.|\n)*--photos CSV"):
        read_photos(tmp_path)


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
    at = [SourcePhoto(f"{i}.jpg", f"{i}.jpg", 52.0 + 1e-5 * i, 0.1, date="2024-01-01T08") for i in range(3)]
    later = SourcePhoto("3.jpg", "3.jpg", 52.0, 0.1, date="2024-02-01")
    far = SourcePhoto("4.jpg", "4.jpg", 52.001, 0.1)
    given = [SourcePhoto(f"{i}.jpg", f"{i}.jpg", 52.0, 0.1, place="pano") for i in (5, 6)]
    found = places_of([*at, later, far, *given])
    assert {p.name: p.photos for p in found} == {"0.jpg": (0, 1, 2), "3.jpg": (3,), "4.jpg": (4,), "pano": (5, 6)}
    assert found[0].position == pytest.approx([52.00001, 0.1])
