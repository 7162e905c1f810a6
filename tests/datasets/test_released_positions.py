"""Import of the released layout: positions, from a CSV or from file names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pyproj import Proj

from ial_bench.datasets.coords import Coords, parse_sf_xl, read_coords
from ial_bench.datasets.photos import Photos
from ial_bench.errors import ConfigError, DataError
from made_release import ADDRESSES, Tree, record, report


def found(coords: Coords) -> dict[str, tuple[float, float]]:
    return {path: (lat, lon) for path, (lat, lon) in zip(coords.paths.to_pylist(), coords.points.tolist(), strict=True)}


class TestPositions:
    def test_wrong_columns_are_listed(self, tree: Tree) -> None:
        tree.header = "image_id,northing,easting"
        with pytest.raises(DataError, match="has the columns image_id, northing, easting") as caught:
            tree.load()
        assert "filename,utm_easting,utm_northing or filename,lat,lon" in (caught.value.fix or "")

    @pytest.mark.parametrize(
        "header", ["filename,lat,utm_northing", "place,lat,lon", "filename,lat,lng", "filename,lat,lat"]
    )
    def test_half_of_the_columns_is_not_enough(self, tree: Tree, header: str) -> None:
        tree.header = header
        with pytest.raises(DataError, match=f"has the columns {', '.join(header.split(','))}"):
            tree.load()

    @pytest.mark.parametrize("header", ["filename,latitude,longitude", "file,lat,lon", "path,lat,lon", "image,lat,lon"])
    def test_other_names_of_columns(self, tree: Tree, header: str) -> None:
        tree.header = header
        assert tree.load()[0].bad == []

    def test_order_of_columns_and_others_beside_them(self, tree: Tree) -> None:
        text = "lon,weather,filename,lat\n-80.5,rain,images/a.jpg,40.25\n"
        (tree.root / "c.csv").write_text(text)
        assert found(read_coords(tree.root / "c.csv", None)) == {"images/a.jpg": (40.25, -80.5)}

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n\n",
            b"filename,lat,lon\nimages/a.jpg,40\n",
            b"filename,lat,lon\nimages/a.jpg,north,west\n",
            b"filename,lat,lon\nimages/a.jpg,40,2020-01-01\n",
            b"filename,lat,lon\nimages/a.jpg,40,12:30:00\n",
            b"filename,lat,lon\nimages/\xff.jpg,40,-80\n",
            b"filename,lat,\xff\nimages/a.jpg,40,-80\n",
            "filename,lat,lon\nimages/a.jpg,40,-80\n".encode("utf-16"),
        ],
        ids=["empty", "blank", "short row", "words", "date", "time", "Latin 1", "Latin 1 header", "UTF-16"],
    )
    def test_bad_csv_is_named(self, tree: Tree, content: bytes) -> None:
        path = tree.root / "c.csv"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_coords(path, None)
        assert str(path) in caught.value.problem

    def test_missing_csv(self, tree: Tree) -> None:
        for path in (tree.root / "none.csv", tree.root):
            with pytest.raises(DataError, match="cannot read"):
                read_coords(path, None)

    def test_byte_order_mark_of_spreadsheets(self, tree: Tree) -> None:
        (tree.root / "c.csv").write_bytes(b"\xef\xbb\xbffilename,lat,lon\r\nimages/a.jpg,40,-80\r\n")
        assert found(read_coords(tree.root / "c.csv", None)) == {"images/a.jpg": (40, -80)}

    def test_names_that_look_like_numbers(self, tree: Tree) -> None:
        (tree.root / "c.csv").write_text("filename,lat,lon\n0012,40,-80\n2020-01-01,41,-80\n,42,-80\n")
        assert found(read_coords(tree.root / "c.csv", None)) == {"0012": (40, -80), "2020-01-01": (41, -80)}

    def test_utm(self, tree: Tree) -> None:
        """Written with one projection library's formula, read back as degrees."""
        project = Proj(proj="utm", zone=17, ellps="WGS84")
        degrees = dict(tree.coords)
        tree.header = "filename,utm_easting,utm_northing"
        tree.coords = {k: project(lon, lat) for k, (lat, lon) in degrees.items()}
        _, data = tree.load(utm_zone="17N")
        photos = Photos(data, np.arange(len(data)))
        np.testing.assert_allclose(photos.positions, [np.array(degrees[i], dtype=float) for i in photos.ids], atol=1e-7)
        assert data.description.made_by["utm_zone"] == "17N"

    def test_utm_of_zero_is_missing_too(self, tree: Tree) -> None:
        """Zero metres, zero metres is a real point of the zone; but not of a city."""
        project = Proj(proj="utm", zone=17, ellps="WGS84")
        tree.header = "filename,utm_easting,utm_northing"
        tree.coords = {k: project(lon, lat) for k, (lat, lon) in tree.coords.items()}
        for name in list(tree.coords)[:8]:
            tree.coords[name] = (0, 0)
        summary, _ = tree.load(utm_zone="17N")
        assert Counter(reason.split(":")[0] for _, _, reason in summary.bad) == {"position 0, 0": 8}

    def test_utm_without_zone(self, tree: Tree) -> None:
        tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(ConfigError, match="UTM positions, whose zone is not known") as caught:
            tree.load()
        assert "--utm-zone" in (caught.value.fix or "")

    def test_utm_with_a_wrong_zone(self, tree: Tree) -> None:
        tree.header = "filename,utm_easting,utm_northing"
        with pytest.raises(ConfigError, match="'99N' is not a UTM zone"):
            tree.load(utm_zone="99N")

    def test_none_given_and_none_in_the_names(self, tree: Tree) -> None:
        with pytest.raises(DataError, match="36 of 36 records") as caught:
            tree.load(coords=None)
        assert "no --coords, and none in the file name" in report(tree.root / "out")[0][2]
        assert "36 x position missing" in caught.value.problem

    @pytest.mark.parametrize(
        ("name", "point"),
        [
            ("@0543256.96@4178906.70@10@S@037.75552@-122.50876@SaoCcI@@180@@@@201311@@.jpg", (37.75552, -122.50876)),
            ("a/b/@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@note@.png", (37.5, -122.25)),
            ("@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@.jpg", None),  # a field short
            ("@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@6@7@.jpg", None),  # a field too many
            ("x@1@2@10@S@037.5@-122.25@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@@@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@0@0@x@t@1@2@3@4@5@6@.jpg", None),
            ("@1@2@10@S@0@9.5@x@t@1@2@3@4@5@6@.jpg", (0, 9.5)),  # on the equator
            ("images/0_0.jpg", None),
        ],
    )
    def test_in_the_name(self, name: str, point: tuple[float, float] | None) -> None:
        said = parse_sf_xl(name)
        assert (None if isinstance(said, str) else (said.lat, said.lon)) == point

    def test_release_with_positions_in_the_names(self, tmp_path: Path) -> None:
        """As of San Francisco: no CSV, places are panoramas."""
        tree = Tree(tmp_path)
        for pano in range(6):
            for heading in (0, 90):
                name = f"@5{pano}@4@10@S@{37.75 + pano / 1e4:.5f}@-122.50000@pano-{pano}@@{heading:03d}@@@@201311@@.jpg"
                records = tree.queries if pano == 5 else tree.train
                records[tree.photo(f"images/37.75/{name}")] = record(ADDRESSES[0])
        summary, data = tree.load(coords=None)
        assert (summary.bad, summary.rule.name, summary.n_places) == ([], "sf-xl", 6)
        np.testing.assert_allclose(data.split("query").positions, [[37.7505, -122.5]] * 2)
