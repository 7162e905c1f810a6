"""Which photos share a place: read from paths in the forms of the field's datasets."""

from __future__ import annotations

import numpy as np
import pytest

from ial_bench.datasets.places import RULES, detect_rule, named_rule
from ial_bench.errors import ConfigError
from ial_bench.geo.points import Points

# The two forms of SF-XL names: with and without tile, pitch and roll.
SF_XL = "@0543256.96@4178906.70@10@S@037.75552@-122.50876@SaoCcIzPjTYYxRiGUnbhvQ@@180@@@@201311@@.jpg"
SF_XL_FULL = "@0549847.82@4180084.55@10@S@037.76591@-122.43394@-gVtM_c@0_3@030@02@01@12@20130601@night@.jpg"
METRE = 1 / 111_195  # in degrees of latitude


def at(*latitudes: float) -> Points:
    """Positions on one meridian, in metres north of a point."""
    return np.array([(40.0 + m * METRE, -80.0) for m in latitudes])


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "path", "place"),
        [
            ("pitts", "images/000/000015_pitch1_yaw1.jpg", "000015"),
            ("pitts", "images/000/000015_pitch2_yaw12.jpg", "000015"),
            ("pitts", "queries_real/003/003210_pitch2_yaw11.png", "003210"),
            ("pitts", "000015_pitch1_yaw1.jpg", "000015"),
            ("pitts", "images/000/000015.jpg", None),
            ("pitts", "images/0_0.jpg", None),
            ("pitts", "images/000015_pitch1_yaw1/a.jpg", None),
            ("sf-xl", SF_XL, "SaoCcIzPjTYYxRiGUnbhvQ"),
            ("sf-xl", f"train/37.75/{SF_XL}", "SaoCcIzPjTYYxRiGUnbhvQ"),
            ("sf-xl", f"train/{SF_XL_FULL}", "-gVtM_c"),
            ("sf-xl", "train/@1@2@10@S@37.7@-122.4@@tile@180@@@@201311@@.jpg", None),  # no panorama id
            ("sf-xl", "train/@1@2@10@S@37.7@-122.4@", None),
            ("sf-xl", "a@b@c.jpg", None),
            ("stem-view", "images/0_0.jpg", "0"),
            ("stem-view", "images/12_3.jpg", "12"),
            ("stem-view", "a/b_c_1.jpeg", "b_c"),
            ("stem-view", "a_1/b.jpg", None),
            ("stem-view", "images/000015_pitch1_yaw1.jpg", None),
            ("path-view", "images/3/12_4.jpg", "images/3/12"),
            ("path-view", "images/000/000015_pitch1_yaw12.jpg", "images/000/000015"),
            ("path-view", "a_1/b_c_2.jpg", "a_1/b_c"),
            ("path-view", "images/12.jpg", None),
            ("file", "images/0_0.jpg", "images/0_0.jpg"),
        ],
    )
    def test_place(self, rule: str, path: str, place: str | None) -> None:
        assert named_rule(rule).place(path) == place

    @pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
    def test_has_a_meaning_in_words(self, rule: object) -> None:
        assert getattr(rule, "meaning", "").strip()

    def test_views_of_one_panorama_of_the_field(self) -> None:
        """24 views a place: 2 pitches and 12 yaws."""
        paths = [f"images/000/000015_pitch{p}_yaw{y}.jpg" for p in (1, 2) for y in range(1, 13)]
        assert {named_rule("pitts").place(p) for p in paths} == {"000015"}


class TestNamedRule:
    def test_pattern(self) -> None:
        rule = named_rule(r"^(?P<place>[a-z]+\d+)/")
        assert rule.place("route12/frame_000.jpg") == "route12"
        assert rule.place("other/x.jpg") is None
        assert r"^(?P<place>[a-z]+\d+)/" in rule.meaning

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("(?P<place>", "is not a regular expression"),
            ("[", "is not a regular expression"),
            ("pits", "has no group called 'place'"),
            (r"(\d+)_", "has no group called 'place'"),
            ("", "has no group called 'place'"),
        ],
    )
    def test_neither_name_nor_pattern(self, text: str, why: str) -> None:
        with pytest.raises(ConfigError, match=why) as caught:
            named_rule(text)
        assert all(r.name in (caught.value.fix or "") for r in RULES)


class TestDetection:
    @pytest.mark.parametrize(
        ("paths", "metres", "rule"),
        [
            (["0/000015_pitch1_yaw1.jpg", "0/000015_pitch1_yaw2.jpg", "0/000016_pitch1_yaw1.jpg"], (0, 0, 50), "pitts"),
            ([SF_XL, SF_XL.replace("@180@", "@090@"), SF_XL_FULL], (0, 0, 90), "sf-xl"),
            (["images/0_0.jpg", "images/0_1.jpg", "images/1_0.jpg"], (0, 0, 6), "stem-view"),
            (["a.jpg", "b.jpg", "c.jpg"], (0, 0, 0), "file"),
        ],
    )
    def test_of_each_form(self, paths: list[str], metres: tuple[float, ...], rule: str) -> None:
        assert detect_rule(paths, at(*metres)).name == rule

    def test_a_number_that_counts_frames_is_no_view(self) -> None:
        """IMG_0001, IMG_0002, … are along a drive, not turns on one spot."""
        paths = [f"images/IMG_{i:04d}.jpg" for i in range(5)]
        assert detect_rule(paths, at(0, 10, 20, 30, 40)).name == "file"

    def test_rounding_of_positions_is_no_other_place(self) -> None:
        paths = ["0_0.jpg", "0_1.jpg", "1_0.jpg"]
        assert detect_rule(paths, at(0, 0.9, 30)).name == "stem-view"
        assert detect_rule(paths, at(0, 1.2, 30)).name == "file"

    def test_every_path_must_have_the_form(self) -> None:
        paths = ["0/000015_pitch1_yaw1.jpg", "0/000015_pitch1_yaw2.jpg", "0/extra.jpg"]
        assert detect_rule(paths, at(0, 0, 50)).name == "file"

    @pytest.mark.parametrize("view", ["_pitch1_yaw1.jpg", "_1.jpg"])
    def test_one_number_in_two_folders_is_two_places(self, view: str) -> None:
        """Queries are numbered anew in a folder of their own; their views still belong together."""
        folders = ("images/000", "queries_real/000")
        paths = [f"{folder}/000015{view.replace('1.', f'{i}.')}" for folder in folders for i in (1, 2)]
        rule = detect_rule(paths, at(0, 0, 700, 700))
        assert rule.name == "path-view"
        assert [rule.place(p) for p in paths] == [f"{folder}/000015" for folder in folders for _ in (1, 2)]

    def test_of_nothing(self) -> None:
        assert detect_rule([], np.empty((0, 2))).name in {r.name for r in RULES}
