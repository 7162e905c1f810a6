"""Import of the released layout: positions, from a CSV or from file names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pyproj import Proj

from ial_bench.datasets.importing.positions import Coords, read_coords
from ial_bench.datasets.importing.sf_ial import parse_sf_xl
from ial_bench.datasets.photos import Photos
from ial_bench.errors import ConfigError, DataError
from support.made_release import ADDRESSES, Tree, record, report


def found(coords: Coords) -> dict[str, tuple[float, float]]:
    return {path: (lat, lon) for path, (lat, lon) in zip(coords.paths.to_pylist(), coords.points.tolist(), strict=True)}


class TestPositions:
    def test_wrong_columns_are_listed(self, tree: Tree) -> None:
        tree.header = "image_id,northing,easting"
        with pytest.raises(DataError, match="has the columns image_id, northing, easting") as caught:
            tree.load()
        assert "filename,utm_easting,utm_northing or filename,lat,lon" in (caught.value.fix or "")

    @pytest.mark.parametrize(
        "header", ["filename,lat,utm_northing", "place,lat,lon", "filename,lat,elevation", "filename,lon,elevation"]
    )
    def test_half_of_the_columns_is_not_enough(self, tree: Tree, header: str) -> None:
        tree.header = header
        with pytest.raises(DataError, match=f"has the columns {', '.join(header.split(','))}"):
            tree.load()

    @pytest.mark.parametrize("header", ["filename,latitude,longitude", "file,lat,lon", "path,lat,lon", "image,lat,lng"])
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
            "filename,lat,lon\nimages/a.jpg,40,-80\n".encode("utf-16-le"),
        ],
        ids=[
            "empty",
            "blank",
            "short row",
            "words",
            "date",
            "time",
            "Latin 1",
            "Latin 1 header",
            "UTF-16 without a mark",
        ],
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


class TestMetresInTheName:
    """Names such as ``@0551000.00@4180000.00@10@S@.jpg`` that have no degrees."""

    @staticmethod
    def release(root: Path, name: str) -> tuple[Tree, dict[str, tuple[float, float]]]:
        """Photos called by `name`, a pattern; gives the true position of each photo id."""
        tree, truth = Tree(root), {}
        project = Proj(proj="utm", zone=10, ellps="WGS84")
        for place in range(8):
            lat, lon = 37.75 + place / 1000, -122.5
            east, north = project(lon, lat)
            for view in range(2):
                path = "images/" + name.format(east=east, north=north, place=place, view=view)
                (tree.queries if place == 7 else tree.train)[tree.photo(path)] = record(ADDRESSES[0])
                truth[path] = lat, lon
        return tree, truth

    WHOLE = "@{east:010.2f}@{north:.2f}@10@S@@@pano{place}@@{view}80@@@@201311@@.jpg"
    NO_ZONE = "@{east:010.2f}@{north:.2f}@@@@@pano{place}@@{view}80@@@@201311@@.jpg"
    SHORT = "@{east:.2f}@{north:.2f}@{place}_{view}.jpg"
    SHORT_ZONE = "@{east:.2f}@{north:.2f}@10@S@{place}_{view}.jpg"

    @pytest.mark.parametrize(
        ("name", "zone"),
        [
            (WHOLE, None), (WHOLE, "10N"), (WHOLE, "10T"), (NO_ZONE, "10N"), (NO_ZONE, "10T"), (SHORT, "10N"),
            (SHORT_ZONE, None),
        ],
    )  # fmt: skip
    def test_are_read(self, tmp_path: Path, name: str, zone: str | None) -> None:
        tree, truth = self.release(tmp_path, name)
        summary, data = tree.load(coords=None, utm_zone=zone)
        assert summary.bad == []
        assert summary.where.startswith("western United States, latitude 37.75000 to 37.75700, longitude -122.50000")
        photos = Photos(data, np.arange(len(data)))
        np.testing.assert_allclose(photos.positions, [truth[i] for i in photos.ids], atol=1e-6)
        if name in (self.WHOLE, self.NO_ZONE):
            assert sorted(set(photos.headings.tolist())) == [80, 180]
            assert summary.n_places == 8

    @pytest.mark.parametrize("name", [NO_ZONE, SHORT])
    def test_without_a_zone(self, tmp_path: Path, name: str) -> None:
        tree, truth = self.release(tmp_path, name)
        with pytest.raises(ConfigError, match="file names have UTM positions whose zone is not known") as caught:
            tree.load(coords=None)
        assert next(iter(truth)) in caught.value.problem
        assert "--utm-zone" in (caught.value.fix or "")

    @pytest.mark.parametrize("name", [NO_ZONE, SHORT, WHOLE])
    def test_with_a_zone_that_leaves_the_hemisphere_open(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match="zone 10S may mean the southern hemisphere"):
            self.release(tmp_path, name)[0].load(coords=None, utm_zone="10S")

    @pytest.mark.parametrize("zone", ["11N", "10F", "17T"])
    def test_with_another_zone_than_the_names(self, tmp_path: Path, zone: str) -> None:
        with pytest.raises(
            ConfigError, match=f"--utm-zone {zone} is not that of file names, such as images/@"
        ) as caught:
            self.release(tmp_path, self.WHOLE)[0].load(coords=None, utm_zone=zone)
        assert "10N" in (caught.value.fix or "")

    def test_what_is_wrong_with_one_is_told(self, tmp_path: Path) -> None:
        tree, _ = self.release(tmp_path, self.NO_ZONE)
        names = {
            "@0@0@@@@@p@@0@@@@@@.jpg": "position 0, 0: in the file name",
            "@inf@4180000@@@@@p@@0@@@@@@.jpg": "position not finite: inf, 4180000 in the file name",
            "@551000@1e30@@@@@p@@0@@@@@@.jpg": "position out of range: 551000, 1e+30 in the file name",
            "@551000@north@@@@@p@@0@@@@@@.jpg": "position missing: no --coords, and none in the file name",
        }
        for name in names:
            tree.train[tree.photo(f"images/{name}")] = record(ADDRESSES[0])
        summary, data = tree.load(coords=None, utm_zone="10N")
        told = {key.removeprefix("./images/"): reason for _, key, reason in report(summary)}
        assert told.keys() == names.keys()
        assert all(told[name].startswith(reason) for name, reason in names.items())
        assert len(data) == 16

    def test_one_name_without_degrees_among_others(self, tmp_path: Path) -> None:
        """Its zone is in the name: it lies where its metres say."""
        tree, _ = self.release(tmp_path, "@{east:.2f}@{north:.2f}@10@S@37.751@-122.5@p{place}@@{view}0@@@@@@.jpg")
        east, north = Proj(proj="utm", zone=10, ellps="WGS84")(-122.5, 37.752)
        name = f"images/@{east:.3f}@{north:.3f}@10@S@@@other@@0@@@@@@.jpg"
        tree.train[tree.photo(name)] = record(ADDRESSES[0])
        lost = f"images/@{east:.3f}@{north:.3f}@@@@@lost@@0@@@@@@.jpg"
        tree.train[tree.photo(lost)] = record(ADDRESSES[0])
        summary, data = tree.load(coords=None)
        photos = Photos(data, np.arange(len(data)))
        np.testing.assert_allclose(photos.positions[photos.ids.index(name)], [37.752, -122.5], atol=1e-6)
        assert [(key, "but no zone" in reason) for _, key, reason in summary.bad] == [(f"./{lost}", True)]

    @pytest.mark.parametrize(("written", "heading"), [("-0.000001", 0), ("359.9999999", 0), ("719.5", 359.5)])
    def test_heading_that_rounds_to_a_full_turn(self, tmp_path: Path, written: str, heading: float) -> None:
        tree, _ = self.release(tmp_path, f"@{{east:.2f}}@{{north:.2f}}@10@S@@@p{{place}}@{{view}}@{written}@@@@@@.jpg")
        _, data = tree.load(coords=None)
        assert set(Photos(data, np.arange(len(data))).headings.tolist()) == {heading}
