"""`bench data import released`, as typed, and on real annotation."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ial_bench.cli.imports import share
from ial_bench.cli.main import app
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import ReleasedOptions, import_released
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.verify import verify
from ial_bench.errors import ConfigError
from support.made_release import ADDRESSES, N_QUERY, Tree, record


class TestCommand:
    """`bench data import released`, as typed."""

    @staticmethod
    def arguments(tree: Tree, *more: str) -> list[str]:
        options = tree.options()
        return [
            "data", "import", "released", "--name", "town", "--annotations", str(options.annotations),
            "--images", str(options.images), "--coords", str(options.coords), *more,
        ]  # fmt: skip

    def test_into_the_data_home(self, tree: Tree) -> None:
        home = tree.root / "home"
        done = CliRunner().invoke(app, self.arguments(tree, "--data-home", str(home)), catch_exceptions=False)
        assert done.exit_code == 0
        assert "3 addresses, of which 3 are candidates" in done.stdout
        assert (
            "18 places; the place of a photo is the file name before its last _number (rule stem-view)" in done.stdout
        )
        assert "0 records not used" in done.stdout
        assert (
            "where on Earth: eastern United States, latitude 40.00000 to 40.00170, "
            "longitude -80.00000 to -80.00000 (0.0 x 0.2 km)"
        ) in done.stdout
        assert "next: bench data verify town; bench run --methods all --dataset town" in done.stdout
        assert Dataset(home / "town").counts()["query"] == N_QUERY

    def test_bad_records_point_to_the_report(self, tree: Tree) -> None:
        tree.train["./images/none.jpg"] = record(ADDRESSES[0])
        out = tree.root / "chosen"
        arguments = self.arguments(tree, "--out", str(out), "--max-bad", "5%", "--title", "Town", "--licence", "none")
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert f"1 records not used, see {out / REPORT}" in done.stdout
        assert "    1 x image missing (./images/none.jpg: " in done.stdout
        assert f"next: bench data verify {out}" in done.stdout
        assert (Dataset(out).description.title, Dataset(out).description.licence) == ("Town", "none")

    @pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "/abs", "a,b", "a b", "a\nb"])
    def test_name_that_is_none(self, tree: Tree, name: str) -> None:
        arguments = ["--name" if a == "--name" else name if a == "town" else a for a in self.arguments(tree)]
        with pytest.raises(ConfigError, match="cannot be a dataset's name"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)

    def test_exit_codes(self, tree: Tree) -> None:
        """As a program sees them: 1 for data that cannot be used, 2 for a wrong option; never a traceback."""
        tree.train["./images/none.jpg"] = record(ADDRESSES[0])
        out = ("--out", str(tree.root / "o"))
        for more, code, words in (
            (
                (*out, "--max-bad", "1%"),
                1,
                "1 of 37 records cannot be used, more than --max-bad 1.00%: 1 x image missing",
            ),
            ((*out, "--max-bad", "101%"), 2, "'101%' is not a share between 0 and 100%"),
        ):
            done = subprocess.run(
                ["bench", *self.arguments(tree, *more)], capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == code
            assert f"error: {words}" in done.stderr
            assert "  fix: " in done.stderr
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1%", 0.01), ("0.01", 0.01), ("0", 0), ("100%", 1), ("1", 1), ("0.5%", 0.005), ("29%", 0.29)],
    )
    def test_share(self, text: str, value: float) -> None:
        assert share(text) == value

    @pytest.mark.parametrize("text", ["", "%", "2", "-1%", "101%", "nan", "nan%", "inf", "1%%", "one", "1 in 100"])
    def test_no_share(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is not a share"):
            share(text)


class TestRealAnnotation:
    @pytest.fixture
    def options(self, cambridge: Path, tmp_path: Path) -> Callable[..., ReleasedOptions]:
        def make(**changes: Any) -> ReleasedOptions:
            given: dict[str, Any] = {"out": tmp_path / "out", "annotations": cambridge / "annotations"}
            return ReleasedOptions(
                images=cambridge / "images", name="cambridge", coords=cambridge / "annotations" / "coords.csv",
                utm_zone="31N", **(given | changes),
            )  # fmt: skip

        return make

    def test_counts(self, options: Callable[..., ReleasedOptions], cambridge: Path) -> None:
        summary = import_released(options())
        data = Dataset(summary.folder)
        assert (summary.bad, summary.rule.name) == ([], "stem-view")
        assert summary.counts["train"] + summary.counts["val"] == 948
        assert summary.counts["val"] == pytest.approx(95, abs=4)
        assert (summary.counts["database"], summary.counts["query"]) == (0, 308)
        assert summary.n_candidates == len(data.candidates) == summary.n_addresses == 27
        assert len(np.unique(data.split("query").places)) == 77
        assert (data.split("query").labels >= 0).all()
        assert verify(data, quick=True).problems == []
        with (cambridge / "coords.csv").open(newline="") as file:
            own = {row["path"]: row for row in csv.DictReader(file)}
        places: dict[str, int] = {}
        photos = data.split("train", "val", "query")
        for photo, place, position in zip(photos.ids, photos.places.tolist(), photos.positions, strict=True):
            assert places.setdefault(own[photo]["place_id"], place) == place  # the folder's own idea of places
            assert abs(position[0] - float(own[photo]["lat"])) < 1.5e-4
        assert len(places) == len(set(places.values())) == 948 // 4 + 77

    def test_shuffled_keys(self, options: Callable[..., ReleasedOptions], cambridge: Path, tmp_path: Path) -> None:
        shuffled = tmp_path / "annotations"
        shuffled.mkdir()
        rng = np.random.default_rng(0)
        for path in (cambridge / "annotations").glob("*.json"):
            records = json.loads(path.read_bytes())
            order = rng.permutation(list(records)).tolist()
            (shuffled / path.name).write_text(json.dumps({k: records[k] for k in order}))
        digests = {
            Dataset(import_released(made).folder).digest
            for made in (options(), options(force=True), options(annotations=shuffled, out=tmp_path / "again"))
        }
        assert len(digests) == 1
