"""The command line as its user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ial_bench.cli import main as cli
from ial_bench.datasets.contents import CONTENTS
from ial_bench.datasets.dataset import Dataset
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.bench_command import Bench

FAST = "clip-zero-shot,gps-oracle,linear-probe,majority,random,retrieval"
"""Methods that train nothing for long."""
HEAVY = {"torch", "open_clip", "timm", "faiss", "scipy"}
VERBS = (
    ["run"], ["leaderboard"], ["score"], ["list", "methods"], ["list", "datasets"], ["list", "runs"], ["show"],
    ["data", "import", "released"], ["data", "import", "pitts-ial"], ["data", "import", "sf-ial-base"],
    ["data", "import", "sf-ial-large"], ["data", "subset"], ["data", "join"], ["data", "verify"],
    ["check"], ["new-method"], ["doctor"], ["predict"], ["power"],
)  # fmt: skip


def loaded_by(*arguments: str) -> set[str]:
    """The heavy libraries that a command imports."""
    script = (
        f"import sys\nsys.argv = {['bench', *arguments]!r}\nfrom ial_bench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', *sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("loaded:", 1)[1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["list", "methods"],
        ["list", "datasets"],
        ["show", "linear-probe"],
        ["list", "runs"],
    ],
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) == set()


def test_a_run_that_is_done_imports_no_torch(tiny_city: Dataset, bench: Bench) -> None:
    arguments = (
        "run",
        "-d",
        str(tiny_city.folder),
        "--backbone",
        CHECK_BACKBONE,
        "--no-timing",
        "-m",
        "retrieval,majority",
    )
    assert bench(*arguments).code == 0
    assert loaded_by(*arguments) == set()


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(bench: Bench, verb: list[str]) -> None:
    said = bench(*verb, "--help")
    assert said.code == 0
    assert f"Example: bench {' '.join(verb)}" in " ".join(said.out.replace("│", " ").split())


def test_the_whole_chain(tiny_city: Dataset, bench: Bench, tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    common = ("-d", str(tiny_city.folder), "--results", results)
    ran = bench(
        "run",
        *common,
        "--methods",
        FAST,
        "--backbone",
        CHECK_BACKBONE,
        "--set",
        "linear-probe.c=1",
        "--seeds",
        "0",
        "1",
    )
    assert ran.code == 0, ran.err
    assert "7 runs: 7 done" in ran.err
    assert "| Linear probe | tiny-check (random-init: untrained) |" in ran.out
    same = ("-m", FAST, "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1", "--seeds", "0,1")
    again = bench("run", *common, *same)
    assert "7 runs: 7 done already" in again.err
    assert again.out == ran.out
    assert bench("leaderboard", "-d", "tiny-city", "--results", results).out == ran.out
    listed = json.loads(bench("list", "runs", "--results", results, "--json").out)
    assert len(listed) == 7
    shown = bench("show", listed[0]["run_id"], "--results", results)
    assert json.loads(shown.out)["run_id"] == listed[0]["run_id"]
    scored = bench("score", *common, "--json")
    assert scored.code == 0
    assert {r["run_id"] for r in json.loads(scored.out)} == {r["run_id"] for r in listed}


def test_dry_run_runs_nothing(tiny_city: Dataset, bench: Bench, tmp_path: Path) -> None:
    said = bench(
        "run", "-d", str(tiny_city.folder), "-m", "majority", "--dry-run", "--json", "--results", str(tmp_path / "r")
    )
    (planned,) = json.loads(said.out)["runs"]
    assert (planned["method"], planned["state"]) == ("majority", "run")
    assert not (tmp_path / "r").exists()


def test_a_failed_run_sets_the_exit_code(tiny_city: Dataset, bench: Bench, tmp_path: Path) -> None:
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "from ial_bench import Method, MethodInfo\n\n\nclass Bad(Method):\n"
        "    info = MethodInfo(name='bad', title='Bad', family='mine')\n\n"
        "    def predict(self, images, k):\n        raise RuntimeError('out of luck')\n"
    )
    said = bench("run", "-d", str(tiny_city.folder), "-m", "bad,majority", "--plugin", str(plugin), "--no-timing")
    assert said.code == 1
    assert "failed: RuntimeError: out of luck" in said.err
    assert "bad failed: RuntimeError: out of luck" in said.out  # under the table
    assert "Most frequent address" in said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "-d", "CITY", "-m", "majorty"], 2, "did you mean 'majority'"),
        (["run", "-d", "no-such-city"], 2, "unknown dataset 'no-such-city'"),
        (["run", "-d", "./no-such-city"], 1, "no such dataset folder: no-such-city"),
        (["run", "-d", "sf-ial-large"], 1, "bench data import sf-ial-large"),
        (["run", "-d", "sf-ial-lrge"], 2, "did you mean 'sf-ial-large'"),
        (
            ["run", "-d", "CITY", "-m", "linear-probe", "--set", "linear-probe.C=1"],
            2,
            "unknown setting of linear-probe 'C'",
        ),
        (["run", "-d", "CITY", "-m", "linear-probe", "--set", "linear-probe.c=-1"], 2, "setting linear-probe.c"),
        (["run", "-d", "CITY", "-m", "retrieval", "--set", "retrieval.k_grid=many"], 2, "setting retrieval.k_grid"),
        (["run", "-d", "CITY", "--set", "c=1"], 2, "METHOD.KEY=VALUE"),
        (["run", "-d", "CITY", "--grid", "c=1,2"], 2, "METHOD.KEY=VALUE,VALUE,..."),
        (["run", "-d", "CITY", "-m", "linear-probe", "--grid", "cc=1,2"], 2, "unknown setting of linear-probe 'cc'"),
        (["run", "-d", "CITY", "-m", "linear-probe", "--grid", "c=1,,2"], 2, "a value is empty"),
        (["run", "-d", "CITY", "-m", "retrieval", "--grid", "k_grid=[1,2"], 2, "not closed"),
        (["run", "-d", "CITY", "-m", "majority", "--grid", "linear-probe.c=1"], 2, "not among the methods"),
        (["run", "-d", "CITY", "-m", "linear-probe", "--grid", "c=1", "--set", "c=2"], 2, "c is given twice"),
        (["run", "-d", "CITY", "-m", "addressclip", "--preset", "papr"], 2, "did you mean 'paper'"),
        (["run", "-d", "CITY", "-m", "majority", "--preset", "paper"], 2, "unknown preset 'paper'"),
        (["run", "-d", "CITY", "-m", "majority", "--preset", "addressclip=paper"], 2, "not among the methods"),
        (["run", "-d", "CITY", "-m", "addressclip", "--preset", "adressclip=paper"], 2, "did you mean 'addressclip'"),
        (["run", "-d", "CITY", "-m", "addressclip", "--preset", "addressclip=papr"], 2, "did you mean 'paper'"),
        (["run", "-d", "CITY", "--set", "lienar-probe.c=1"], 2, "did you mean 'linear-probe'"),
        (["run", "-d", "CITY", "--backbone", "ViT-B-16"], 2, "does not name an encoder"),
        (["run", "-d", "CITY", "--seeds", "one"], 2, "not a list of whole numbers"),
        (["run", "-d", "CITY", "--config", "absent.toml"], 2, "no such file: absent.toml"),
        (["run", "-d", "CITY", "--device", "warp"], 2, "device 'warp' cannot be used"),
        (["run", "-d", "CITY", "-m", "majority", "--results", "CITY/dataset.toml"], 1, "cannot write"),
        (["leaderboard", "--results", "empty"], 1, "no results in empty"),
        (["show", "linear-prob"], 2, "did you mean 'linear-probe'"),
        (["check", "no-such"], 2, "unknown method"),
        (["new-method", "Bad Name"], 2, "cannot be a method's name"),
        (["new-method", "../mine"], 2, "cannot be a method's name"),
        (["new-method", "my-" + "long" * 25], 2, "cannot be a method's name"),
        (["new-method", "majority"], 2, "there is a method 'majority' already"),
        (["data", "verify", "./absent"], 1, "no such dataset folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_name_what_is_wrong_and_the_mend(
    bench: Bench, tiny_city: Dataset, arguments: list[str], code: int, words: str
) -> None:
    said = bench(*(a.replace("CITY", str(tiny_city.folder)) for a in arguments))
    assert said.code == code, said.err
    assert words in said.err
    assert "fix: " in said.err
    assert "Traceback" not in said.err


def test_debug_shows_the_traceback(bench: Bench) -> None:
    said = bench("--debug", "run", "-d", "no-such-city")
    assert "Traceback" in said.err
    assert said.code == 2


def test_settings_from_a_file(tiny_city: Dataset, bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        f"[linear-probe]\nc = 0.25\n[retrieval]\nk_grid = [3]\ntemperature_grid = [0.1]\n"
        f'backbone = "{CHECK_BACKBONE}"\n'
    )
    common = ("run", "-d", str(tiny_city.folder), "--config", str(file), "--no-timing", "--json")
    said = bench(*common, "-m", "linear-probe,retrieval", "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=0.5")
    assert said.code == 0, said.err
    configs = {r["method"]["name"]: r["method"]["config"] for r in json.loads(said.out)}
    assert configs["linear-probe"]["c"] == 0.5  # the command line wins
    assert configs["retrieval"]["k_grid"] == [3]
    file.write_text("c = 1\n")
    assert "outside a [METHOD] table" in bench(*common).err


def test_seeds_in_either_form() -> None:
    assert cli.joined_lists(["run", "--seeds", "0", "1", "2", "-m", "x"]) == ["run", "--seeds", "0,1,2", "-m", "x"]
    assert cli.joined_lists(["run", "--seeds", "0,1", "--k", "5"]) == ["run", "--seeds", "0,1", "--k", "5"]
    assert cli.joined_lists(["run", "--k", "5", "7"]) == ["run", "--k", "5", "7"]


def test_a_new_method_works_as_written(bench: Bench, tiny_city: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    made = bench("new-method", "my-method", "--out", str(file))
    assert made.code == 0
    assert len(file.read_text().splitlines()) < 60
    checked = bench("check", "my-method", "--plugin", str(file))
    assert checked.code == 0, checked.out
    assert "all 14 checks passed" in checked.err
    ran = bench(
        "run",
        "-d",
        str(tiny_city.folder),
        "-m",
        "my-method",
        "--plugin",
        str(file),
        "--backbone",
        CHECK_BACKBONE,
        "--no-timing",
        "--json",
    )
    (record,) = json.loads(ran.out)
    assert record["metrics"]["accuracy"]["SSA-1"]["value"] > 0.8  # colours tell the drawn addresses apart
    assert bench("new-method", "my-method", "--out", str(file)).code == 0  # as a call that was killed leaves it
    for tool in (["ruff", "check", "--isolated"], ["mypy", "--strict", "--follow-imports=silent"]):
        done = subprocess.run([sys.executable, "-m", *tool, str(file)], capture_output=True, text=True)
        if "No module named" not in done.stderr:
            assert done.returncode == 0, done.stdout + done.stderr
    file.write_text(file.read_text() + "# mine\n")
    assert "is there already" in bench("new-method", "my-method", "--out", str(file)).err
    assert file.read_text().endswith("# mine\n")


def test_check_names_what_a_method_does_wrong(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "leaky.py"
    file.write_text(
        "import numpy as np\nfrom ial_bench import Method, MethodInfo, TopK\n\n\nclass Leaky(Method):\n"
        "    info = MethodInfo(name='leaky', title='Leaky', family='mine')\n\n"
        "    def index(self, candidates):\n        self.n = len(candidates)\n\n"
        "    def predict(self, images, k):\n"
        "        scores = np.random.default_rng().random((len(images), self.n))\n"
        "        return TopK.from_scores(scores, k)\n"
    )
    said = bench("check", "leaky", "--plugin", str(file))
    assert said.code == 1
    outcome = dict(line.split("\t", 1) for line in said.out.splitlines())
    assert outcome["answers are valid"] == "ok"
    assert "another answer" in outcome["same seed, same answers"]
    assert "other scores" in outcome["answers do not depend on the batch"]
    assert outcome["save and load"] != "ok"


def test_a_broken_photo_fails_the_run_and_names_the_file(bench: Bench, tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city")
    (city.folder / CONTENTS).unlink()  # broken when it was imported
    victim = city.split("query").path(3)
    victim.write_bytes(victim.read_bytes()[:100] + bytes(victim.stat().st_size - 100))
    said = bench(
        "run", "-d", str(city.folder), "-m", "linear-probe", "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1"
    )
    assert said.code == 1
    assert str(victim) in said.err
    assert "bench data verify" in json.dumps(
        json.loads(
            bench(
                "run",
                "-d",
                str(city.folder),
                "-m",
                "linear-probe",
                "--backbone",
                CHECK_BACKBONE,
                "--set",
                "linear-probe.c=1",
                "--json",
            ).out
        )
    )


def test_doctor_tells_what_is_here(bench: Bench) -> None:
    said = bench("doctor", "--json")
    assert said.code == 0
    facts = json.loads(said.out)
    assert "linear-probe" in facts["methods"]
    assert facts["hardware"]["cores"]
    assert "GB free" in facts["cache"]


def test_version(bench: Bench) -> None:
    assert bench("--version").out.startswith("ial-bench ")
