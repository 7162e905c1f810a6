"""A plugin's code is part of its runs: what changes when it does, where it is broken, and who has a name."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.testing import CHECK_BACKBONE
from support.bench_command import Bench, Said

SCORE = "return np.asarray(unit_norm(x) @ self.means.T)"
FLIPPED = SCORE.replace("unit_norm", "-unit_norm")
NO_TEXTS = "timm:test_vit/random-init"
EXTRA = "        # a remark\n        return np.asarray"


class Desk:
    """A user with a plugin file, a dataset, and results."""

    def __init__(self, bench: Bench, city: Dataset, folder: Path) -> None:
        self.bench, self.city, self.folder = bench, city, folder
        self.file = folder / "my_idea.py"
        assert bench("new-method", "my-idea", "--out", self.file).code == 0

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def run(self, *arguments: str | Path, methods: str = "my-idea,majority") -> Said:
        return self.bench(
            "run", "-d", self.city.folder, "-m", methods, "--plugin", self.file, "--backbone", CHECK_BACKBONE,
            "--no-timing", "--workers", "0", *arguments,
        )  # fmt: skip

    def listed(self, *arguments: str | Path) -> dict[str, str | None]:
        """What `bench list runs` says of the code of each run of the plugin."""
        runs = json.loads(self.bench("list", "runs", "--json", *arguments).out)
        return {r["run_id"]: r["code"] for r in runs if r["method"] == "my-idea"}


@pytest.fixture
def desk(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> Desk:
    return Desk(bench, tiny_city, tmp_path)


def rows(said: Said) -> dict[str, str]:
    """The first number of each row of the Markdown table, with its marks."""
    cells = [line.strip("| ").split(" | ") for line in said.out.splitlines() if line.startswith("| ")][1:]
    return {c[0].strip().replace("\\", ""): c[2].split("<sub>")[0].strip() for c in cells}


def value(said: Said, title: str = "My idea") -> float:
    return float(re.sub(r"[^0-9.]", "", rows(said)[title]))


def notes(said: Said) -> list[str]:
    return [line.removeprefix("- ") for line in said.out.splitlines() if line.startswith("- ")]


def test_changed_code_is_run_again_and_takes_the_place_of_the_earlier_run(desk: Desk) -> None:
    first = desk.run()
    assert first.code == 0, first.err
    assert "2 done already" in desk.run().err
    good = value(first)
    assert good > 80
    desk.change(SCORE, FLIPPED)
    second = desk.run()
    assert "2 runs: 1 done already, 1 done" in second.err
    assert value(second) < 20
    assert "1 run by earlier code of my-idea is left out" in notes(second)
    assert list(rows(second)).count("My idea") == 1
    assert sorted(map(str, desk.listed().values())) == ["None", "superseded"]
    compared = desk.bench("compare", "my-idea", "majority", "--dataset", "tiny-city")
    assert "note: 1 run by earlier code of my-idea is left out" in compared.err
    assert desk.bench("leaderboard", "--dataset", "tiny-city").out == second.out
    # Who takes the change back sees the number of that code, though it was run before the other.
    desk.change(FLIPPED, SCORE)
    third = desk.run()
    assert "2 runs: 2 done already" in third.err
    assert value(third) == good
    assert "1 run by earlier code of my-idea is left out" in notes(third)


def test_a_row_of_other_code_than_is_known_is_stale_and_never_ranked(desk: Desk) -> None:
    assert desk.run(methods="my-idea,majority,random").code == 0
    plain = desk.bench("leaderboard", "--dataset", "tiny-city")
    assert rows(plain)["My idea"].startswith("**")
    known = desk.bench("leaderboard", "--dataset", "tiny-city", "--plugin", desk.file)
    assert known.out == plain.out
    desk.change("        return np.asarray", EXTRA)
    said = desk.bench("leaderboard", "--dataset", "tiny-city", "--plugin", desk.file)
    assert (said.code, said.err) == (0, "")
    found = rows(said)
    assert "My idea" not in found
    assert found["*My idea (stale)*"] == rows(plain)["My idea"].strip("*")
    assert found["Most frequent address"].startswith("**")  # the best of those that are ranked
    assert list(found)[-1] == "*My idea (stale)*"
    (note,) = [n for n in notes(said) if n.startswith("stale: ")]
    assert "the code of my-idea has changed since" in note
    assert "`bench run` makes them anew" in note.replace("\\", "")
    table = json.loads(
        desk.bench("leaderboard", "-d", "tiny-city", "--plugin", desk.file, "--format", "json").out
    )[0]["rows"]  # fmt: skip
    assert {r["method"]: r["kind"] for r in table}["My idea (stale)"] == "stale"
    assert set(desk.listed("--plugin", desk.file).values()) == {"stale"}
    assert set(desk.listed().values()) == {None}
    assert desk.bench("leaderboard", "--dataset", "tiny-city").out == plain.out  # nothing is known of the code
    again = desk.run()
    assert not [title for title in rows(again) if "stale" in title]
    assert set(desk.listed("--plugin", desk.file).values()) == {"superseded", None}


def test_seeds_of_different_code_are_never_joined(desk: Desk) -> None:
    desk.change('version="1"', 'version="1",\n        stochastic=True')
    assert desk.run("--seeds", "0,1", methods="my-idea").code == 0
    desk.change("        return np.asarray", EXTRA)
    said = desk.run(methods="my-idea")
    titles = list(rows(said))
    assert len(titles) == 2
    assert titles[0].startswith("My idea (code ")
    assert titles[1].startswith("*My idea (code ")  # of seed 1 there is no later run
    assert titles[1].endswith(") (stale)*")


def test_predict_does_not_answer_with_other_code(desk: Desk) -> None:
    photo = desk.city.split("query").path(0)
    asked = ("predict", "-m", "my-idea", "-d", desk.city.folder, "--plugin", desk.file, photo)
    assert desk.run("--set", "my-idea.shrink=0.25").code == 0
    assert desk.bench(*asked).code == 0
    (old,) = desk.listed()
    desk.change("        return np.asarray", EXTRA)
    said = desk.bench(*asked)
    assert (said.code, said.out) == (1, "")
    assert "no finished run of my-idea on tiny-city was made by the code that my-idea has now" in said.err
    assert f"run {old} was made by other code" in desk.bench(*asked, "--run", old).err
    (fix,) = [line for line in said.err.splitlines() if line.startswith("  fix: ")]
    command = shlex.split(fix.split("`")[1])[1:]
    assert "my-idea.shrink=0.25" in command
    assert desk.bench(*command, "--no-timing").code == 0
    answered = desk.bench(*asked)
    assert answered.code == 0
    assert f"run {old}" not in answered.err


# ------------------------------------------------------------------------------------------------ files that are broken


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "half_done.py"
    file.write_text('"""Not done."""\nimport no_such_library\n')
    return file


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "-d", "CITY"],
        ["run", "-d", "CITY", "-m", "all"],
        ["run", "-d", "CITY", "-m", "majority,half-done"],
        ["run", "-d", "CITY", "-m", "a-name-in-it"],
        ["check", "half-done"],
        ["check", "a-name-in-it"],
        ["predict", "-d", "CITY", "-m", "half-done", "photo.jpg"],
        ["predict", "-d", "CITY", "-m", "a-name-in-it", "photo.jpg"],
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_imported_is_an_error_where_it_is_asked_for(
    bench: Bench, tiny_city: Dataset, broken: Path, arguments: list[str]
) -> None:
    said = bench(*(a.replace("CITY", str(tiny_city.folder)) for a in arguments), "--plugin", broken)
    assert (said.code, said.out) == (2, "")
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert f"ModuleNotFoundError: No module named 'no_such_library' ({broken}:2)" in line
    assert f"`bench show half-done --plugin {broken}` prints its traceback" in said.err
    assert "Traceback" not in said.err


def test_a_broken_file_is_a_note_where_other_methods_are_asked_for(
    bench: Bench, tiny_city: Dataset, broken: Path
) -> None:
    said = bench("run", "-d", tiny_city.folder, "-m", "majority", "--no-timing", "--plugin", broken)
    assert said.code == 0
    assert f"note: {broken} cannot be imported: ModuleNotFoundError" in said.err
    assert "| Most frequent address |" in said.out
    photo = tiny_city.split("query").path(0)
    asked = bench("predict", "-m", "majority", "-d", tiny_city.folder, "--plugin", broken, photo)
    assert asked.code == 0
    assert f"note: {broken} cannot be imported" in asked.err
    listed = json.loads(bench("list", "methods", "--json", "--plugin", broken).out)
    assert [m["name"] for m in listed if m["broken"]] == ["half-done"]
    assert "Traceback" in bench("show", "half-done", "--plugin", broken).out


# ------------------------------------------------------------------------------------------------ names


def test_a_file_takes_the_name_of_a_built_in_method_which_is_said(desk: Desk) -> None:
    assert desk.run(methods="majority").code == 0
    desk.change('name="my-idea"', 'name="majority"')
    said = desk.run(methods="majority")
    assert f"note: method 'majority' of {desk.file} takes the place of the one of ial-bench" in said.err
    assert "1 runs: 1 done" in said.err
    titles = {"My idea (origin my_idea.py)", "Most frequent address (origin ial-bench)"}
    assert set(rows(said)) == titles
    assert value(said, "My idea (origin my_idea.py)") > 80
    assert set(rows(desk.bench("leaderboard", "-d", "tiny-city"))) == titles
    built_in = desk.bench("run", "-d", desk.city.folder, "-m", "majority", "--no-timing")
    assert "1 done already" in built_in.err
    photo = desk.city.split("query").path(0)
    answered = desk.bench("predict", "-m", "majority", "-d", desk.city.folder, photo)
    assert (answered.code, answered.out.splitlines()[0].split("\t")[-1]) == (0, "score")


# ------------------------------------------------------------------------------------------------ what is skipped


def skipping(desk: Desk, *arguments: str, methods: str) -> Said:
    """Runs with an encoder that knows no texts, without which zero-shot CLIP cannot run."""
    return desk.bench(
        "run",
        "-d",
        desk.city.folder,
        "-m",
        methods,
        "--backbone",
        NO_TEXTS,
        "--no-timing",
        "--workers",
        "0",
        *arguments,
    )


def test_strict_tells_by_its_exit_code_of_a_skip_that_was_not_wanted(desk: Desk) -> None:
    named = skipping(desk, methods="clip-zero-shot,majority")
    assert named.code == 0
    skips = [n for n in notes(named) if n.startswith("clip-zero-shot was skipped: ")]
    assert len(skips) == 1
    assert skipping(desk, "--strict", methods="clip-zero-shot,majority").code == 3
    assert skipping(desk, "--strict", "--json", methods="clip-zero-shot").code == 3
    assert skipping(desk, "--strict", methods="majority").code == 0
    assert skipping(desk, "--strict", "--dry-run", methods="clip-zero-shot").code == 0


def test_through_all_a_skip_is_no_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from ial_bench.registry import Registry

    few: Any = lambda self: ["clip-zero-shot", "majority"]  # noqa: E731 - all methods would take minutes
    monkeypatch.setattr(Registry, "names", property(few))
    said = skipping(desk, "--strict", methods="all")
    assert said.code == 0
    assert "1 skipped" in said.err


def test_a_failed_run_goes_before_a_skip(desk: Desk) -> None:
    desk.change(SCORE, "raise ValueError('no')")
    said = desk.run("--strict", "--set", f"clip-zero-shot.backbone={NO_TEXTS}", methods="my-idea,clip-zero-shot")
    assert said.code == 1
    assert "1 skipped" in said.err


def test_a_skip_by_name_is_told_though_the_method_has_rows(desk: Desk) -> None:
    assert desk.run(methods="clip-zero-shot").code == 0
    said = skipping(desk, methods="clip-zero-shot,majority")
    assert said.code == 0
    assert "CLIP zero-shot" in rows(said)
    assert len([n for n in notes(said) if n.startswith("clip-zero-shot was skipped: ")]) == 1
    assert not [n for n in notes(desk.bench("leaderboard", "-d", "tiny-city")) if "was skipped" in n]
