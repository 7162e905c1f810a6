"""Names of the paper's datasets are kept for what is as published: no other dataset is made, or passes, under them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ial_bench.cli.main import app, main
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join, take_places
from ial_bench.datasets.importing.report import REPORT
from ial_bench.datasets.known import DatasetCard, Expected, dataset_cards
from ial_bench.datasets.verify import verify
from ial_bench.errors import BenchError, ConfigError, DataError
from ial_bench.partition.dataset import build_dataset
from ial_bench.partition.options import BuildOptions
from ial_bench.synth.options import preset
from ial_bench.synth.write import make_city
from support.paper_releases import QUERY_PLACES, YAWS, PaperRelease, publish_small, sf_release

KEPT = ["pitts-ial", "sf-ial-base", "sf-ial-large"]


@pytest.fixture
def sf(tmp_path: Path) -> PaperRelease:
    return sf_release(tmp_path)


def said(*arguments: str | Path) -> str:
    """What `bench data` prints."""
    done = CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def refused(*arguments: str | Path) -> BenchError:
    """What `bench data` fails with."""
    with pytest.raises(BenchError) as caught:
        CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
    return caught.value


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ------------------------------------------------------------------------------------------------- what is as published


@pytest.mark.parametrize(
    ("name", "counts", "same"),
    [
        ("pitts-ial", (428, 19_152), True),
        ("pitts-ial", (424, 18_500), True),  # 1 % of the addresses, the rounding of the queries
        ("pitts-ial", (423, 19_000), False),
        ("pitts-ial", (428, 18_499), False),
        ("sf-ial-base", (404, 21_500), True),
        ("sf-ial-base", (405, 21_000), False),
        ("sf-ial-large", (3_580, 277_200), True),  # 1 % of either
        ("sf-ial-large", (3_616, 277_199), False),
        ("sf-ial-large", (3_579, 280_000), False),
        ("sf-ial-large", (400, 21_000), False),  # the smaller one
        ("synth-city", (3, 5), True),  # has no published counts
    ],
)
def test_counts_that_are_as_published(name: str, counts: tuple[int, int], same: bool) -> None:
    assert dataset_cards()[name].admits(*counts) is same


def test_the_counts_that_a_dataset_is_known_by() -> None:
    sizes = {name: card.size for name, card in dataset_cards().items() if card.keeps_its_name}
    assert sizes == {
        "pitts-ial": "428 candidates and about 19,000 queries",
        "sf-ial-base": "400 candidates and about 21,000 queries",
        "sf-ial-large": "3,616 candidates and about 280,000 queries",
    }


def test_one_count_alone_is_enough_to_tell() -> None:
    card = DatasetCard(
        "c", "C", "", "", (), "", expected=(Expected("questions", 50, tells="queries"), Expected("x", 7))
    )
    assert card.keeps_its_name
    assert (card.admits(1, 50), card.admits(1, 51)) == (True, False)


# ------------------------------------------------------------------------------------------ datasets of other makings


@pytest.mark.parametrize("name", [*KEPT, "SF-IAL-Large"])
@pytest.mark.parametrize(
    "command",
    [
        ("import", "released", "--annotations", "none", "--images", "none"),
        ("build", "--photos", "none.csv", "--streets", "none.geojson"),
        ("synth", "--blocks", "3x3"),
        ("synth", "--streets", "MAP"),
    ],
    ids=" ".join,
)
def test_no_command_gives_one_of_them_to_another_dataset(command: tuple[str, ...], name: str, tmp_path: Path) -> None:
    (tmp_path / "map.geojson").touch()
    command = tuple(word.replace("MAP", str(tmp_path / "map.geojson")) for word in command)
    error = refused(*command, "--name", name, "--data-home", tmp_path / "home")
    assert isinstance(error, ConfigError)
    card = dataset_cards()[name.lower()]
    assert error.problem == f"the name {name} is kept for {card.title} as it is published, with {card.size}"
    assert f"--name my-{card.name.split('-')[0]}-part" in (error.fix or "")
    assert f"`bench data import {card.name}`" in (error.fix or "")
    assert not (tmp_path / "home").exists(), "before any work"


def test_parts_and_unions_cannot_have_one(tiny_city: Dataset, tmp_path: Path) -> None:
    other = take_places(tiny_city, 1.0, 0, "other", tmp_path / "other")
    for command in (("subset", tiny_city.folder, "--coverage", "1"), ("join", tiny_city.folder, other.folder)):
        error = refused(*command, "--name", "pitts-ial", "--data-home", tmp_path / "home")
        assert "is kept for Pitts-IAL" in error.problem
    assert not (tmp_path / "home").exists()
    assert "candidates" in said("subset", tiny_city.folder, "--coverage", "1", "--name", "pitts-ial-2", "--data-home",
                                tmp_path / "home")  # fmt: skip


def test_nor_can_what_is_made_from_python(tiny_city: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for make in (
        lambda: take_places(tiny_city, 1.0, 0, "sf-ial-base", out),
        lambda: join([tiny_city], "sf-ial-base", out),
        lambda: make_city(out, preset("synth-city"), name="sf-ial-base"),
        lambda: build_dataset(
            BuildOptions(photos=tmp_path / "p.csv", out=out, name="sf-ial-base", streets=tmp_path / "s.geojson")
        ),
    ):
        with pytest.raises(ConfigError, match="the name sf-ial-base is kept for SF-IAL-Base"):
            make()
    assert not out.exists()


# -------------------------------------------------------------------------------------------- imports of the real ones


class TestImport:
    @staticmethod
    def command(release: PaperRelease, *more: str | Path) -> list[str | Path]:
        return ["import", "sf-ial-large", *release.arguments, "--data-home", release.root / "home", *more]

    def test_of_other_counts_is_refused_and_leaves_nothing(self, sf: PaperRelease) -> None:
        error = refused(*self.command(sf))
        assert isinstance(error, DataError)
        assert error.problem.startswith(
            f"this is not SF-IAL-Large as it is published: 3 candidates and {QUERY_PLACES * YAWS} queries, "
            "not 3,616 candidates and about 280,000 queries."
        )
        assert "--name my-sf-part" in (error.fix or "")
        assert not (sf.root / "home").exists()

    def test_the_mend_mends_it(self, sf: PaperRelease) -> None:
        (mend,) = re.findall(r"--name [a-z-]+", refused(*self.command(sf)).fix or "")
        assert "DIFFERS: 3 addresses of query photos" in said(*self.command(sf, *mend.split()))
        data = Dataset(sf.root / "home" / "my-sf-part")
        assert (data.name, data.description.title) == ("my-sf-part", "my-sf-part")
        assert verify(data, quick=True).problems == []

    def test_of_the_published_counts_has_the_name(self, sf: PaperRelease, monkeypatch: pytest.MonkeyPatch) -> None:
        publish_small(monkeypatch, "sf-ial-large")
        assert "as published: 3 addresses of train, val and database photos" in said(*self.command(sf))
        data = Dataset(sf.root / "home" / "sf-ial-large")
        assert (data.name, data.description.title) == ("sf-ial-large", "SF-IAL-Large")
        assert verify(data, quick=True).problems == []

    @pytest.mark.parametrize("counts", [(3, 40), (4, 36)], ids=["queries", "candidates"])
    def test_a_dataset_that_is_there_stays(
        self, sf: PaperRelease, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int]
    ) -> None:
        publish_small(monkeypatch, "sf-ial-large")
        said(*self.command(sf))
        folder = sf.root / "home" / "sf-ial-large"
        before = content(folder)
        publish_small(monkeypatch, "sf-ial-large", *counts)
        key = next(iter(sf.records["train"]))
        (sf.root / "images" / key).unlink()
        error = refused(*self.command(sf, "--force", "--max-bad", "50%"))
        assert "1 of 144 records cannot be used: 1 x image missing" in error.problem
        assert content(folder) == before
        assert Dataset(folder).counts()["query"] == QUERY_PLACES * YAWS

    def test_a_few_lost_queries_are_still_the_dataset(self, sf: PaperRelease, monkeypatch: pytest.MonkeyPatch) -> None:
        """36 of 37 would be 2.7 % away, of a rounded number within its rounding."""
        publish_small(monkeypatch, "sf-ial-large", n_queries=37)
        assert "36 queries, not 3 candidates and 37 queries" in refused(*self.command(sf)).problem
        publish_small(monkeypatch, "sf-ial-large", n_queries=37, rounded_to=2)
        said(*self.command(sf))

    def test_a_refused_one_of_too_many_bad_records_tells_them(self, sf: PaperRelease) -> None:
        for key in list(sf.records["queries"])[:12]:
            (sf.root / "images" / key).unlink()
        assert "more than --max-bad 1.00%" in refused(*self.command(sf)).problem
        assert len((sf.root / "home" / "sf-ial-large" / REPORT).read_text().splitlines()) == 13

    @pytest.mark.parametrize(
        ("more", "code", "words"),
        [
            ((), 1, "this is not SF-IAL-Large"),
            (("--name", "pitts-ial"), 2, "the name pitts-ial is kept"),
            (("--name", "SF-IAL-Large"), 2, "the name SF-IAL-Large is kept for SF-IAL-Large"),
            (("--name", ""), 2, "'' cannot be a dataset's name"),
        ],
    )
    def test_exit_codes(
        self, sf: PaperRelease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        more: tuple[str, ...], code: int, words: str,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("sys.argv", ["bench", "data", *map(str, self.command(sf, *more))])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        assert f"error: {words}" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- folders made by hand


class TestVerify:
    def test_a_folder_copied_under_the_name(self, tiny_city: Dataset, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(tiny_city.folder, tmp_path / "sf-ial-large"))
        n = len(tiny_city.split("query"))
        done = CliRunner().invoke(app, ["data", "verify", str(folder), "--quick", "--json"], catch_exceptions=False)
        assert done.exit_code == 1
        (problem,) = json.loads(done.stdout)["problems"]
        assert (problem["kind"], problem["where"]) == ("not the published dataset", "sf-ial-large")
        assert problem["detail"].startswith(
            f"{len(tiny_city.candidates)} candidates and {n} queries, published are 3,616 candidates and about 280,000"
        )

    def test_a_description_that_says_so(self, tiny_city: Dataset, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(tiny_city.folder, tmp_path / "copy"))
        toml = folder / "dataset.toml"
        toml.write_text(toml.read_text().replace('name = "tiny-city"', 'name = "pitts-ial"', 1))
        assert [(p.kind, p.where) for p in verify(Dataset(folder), quick=True).problems] == [
            ("not the published dataset", "pitts-ial")
        ]

    def test_both_are_told_once(self, tiny_city: Dataset, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(tiny_city.folder, tmp_path / "pitts-ial"))
        toml = folder / "dataset.toml"
        toml.write_text(toml.read_text().replace('name = "tiny-city"', 'name = "pitts-ial"', 1))
        assert len(verify(Dataset(folder), quick=True).problems) == 1
