"""Presets and grids: which runs a command plans."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ial_bench.cli.choices import Wanted, choose, split_values
from ial_bench.datasets.dataset import Dataset
from ial_bench.errors import ConfigError
from ial_bench.registry import Registry
from support.bench_command import Bench

PLUGIN = """
import numpy as np
from ial_bench import Method, MethodConfig, MethodInfo, State, TopK


class Knobs(Method):
    info = MethodInfo(name="knobs", title="Knobs", family="test")
    presets = {"paper": {"a": 10, "b": "far", "c": (7, 8)}, "quick": {"a": 2}}

    class Config(MethodConfig):
        a: int = 1
        b: str = "near"
        c: tuple[int, ...] = (1, 2)

    def index(self, candidates):
        self.n = len(candidates)

    def predict(self, images, k):
        return TopK.from_scores(np.tile(np.arange(self.n, dtype=np.float32), (len(images), 1)), k)

    def state(self) -> State:
        return {"n": np.array(self.n)}

    def restore(self, state):
        self.n = int(state["n"])
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "knobs.py").write_text(PLUGIN)
    return Registry([tmp_path / "knobs.py"])


def configs(registry: Registry, methods: str = "knobs", **wanted: Any) -> list[dict[str, Any]]:
    return [c.config.model_dump(mode="json") for c in choose(registry, Wanted(methods, **wanted))]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", ["1"]),
        ("address,address+caption, all", ["address", "address+caption", "all"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ('{"a": [1, 2]},[[1],[2,3]]', ['{"a": [1, 2]}', "[[1],[2,3]]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        (r'"a\",b","]"', [r'"a\",b"', '"]"']),
    ],
)
def test_values_stand_between_commas_outside_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["", "1,", ",1", "1,,2", "[1,2", "1]", '"a', '["a]'])
def test_what_is_not_a_list_of_values_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|not closed"):
        split_values(text)


def test_a_grid_is_the_product_of_its_values(registry: Registry) -> None:
    found = configs(registry, grids=["knobs.a=1,2,3", "c=[1,2],[3]"])
    expected = [{"a": a, "b": "near", "c": c} for a, c in product([1, 2, 3], [[1, 2], [3]])]
    assert found == expected


def test_cells_that_mean_the_same_are_one(registry: Registry) -> None:
    assert [c["c"] for c in configs(registry, grids=['c=[1,2],[1, 2],["1", 2]'])] == [[1, 2]]
    grids = ["losses=address,caption+address,address+caption,all"]
    losses = [c["losses"] for c in configs(Registry(), "addressclip", grids=grids)]
    assert losses == [["address"], ["address", "caption"], ["address", "caption", "geography"]]


def test_a_grid_is_its_methods_alone(registry: Registry) -> None:
    chosen = choose(registry, Wanted("majority,knobs", grids=["knobs.a=1,2"]))
    assert [c.method.info.name for c in chosen] == ["majority", "knobs", "knobs"]


def test_later_sources_stand_on_earlier_ones(registry: Registry, tmp_path: Path) -> None:
    """Preset, file, --set."""
    file = tmp_path / "settings.toml"
    file.write_text('[knobs]\nb = "file"\nc = [5]\n')
    assert configs(registry, presets=["paper"]) == [{"a": 10, "b": "far", "c": [7, 8]}]
    assert configs(registry, presets=["paper"], config=file) == [{"a": 10, "b": "file", "c": [5]}]
    found = configs(registry, presets=["paper"], config=file, settings=["knobs.c=[6]"])
    assert found == [{"a": 10, "b": "file", "c": [6]}]
    assert configs(registry, presets=["paper"], grids=["b=x,y"]) == [{"a": 10, "b": b, "c": [7, 8]} for b in "xy"]


def test_the_values_of_a_file_are_values(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[knobs]\nb = "5"\nc = [5, 6]\n')
    assert configs(registry, config=file) == [{"a": 1, "b": "5", "c": [5, 6]}]
    assert configs(registry, config=file, settings=['b="7"']) == [{"a": 1, "b": "7", "c": [5, 6]}]
    file.write_text("[knobs]\nb = 2020-01-31\n")
    with pytest.raises(ConfigError, match=r"setting knobs\.b: input should be a valid string"):
        configs(registry, config=file)


def test_the_backbone_stands_between_file_and_set(tmp_path: Path) -> None:
    a, b, c, d = (f"openclip:tiny-{x}/random-init" for x in "abcd")
    file = tmp_path / "settings.toml"
    file.write_text(f'[retrieval]\nbackbone = "{b}"\n')

    def backbone(default: str, **wanted: Any) -> str:
        (choice,) = choose(Registry(), Wanted("retrieval", **wanted), default)
        return str(choice.config.model_dump()["backbone"])

    assert backbone(a) == a
    assert backbone(a, config=file) == b
    assert backbone(a, config=file, backbone=c) == c
    assert backbone(a, config=file, backbone=c, settings=[f"backbone={d}"]) == d


def test_a_preset_passes_by_methods_without_it_and_says_so(registry: Registry) -> None:
    said: list[str] = []
    chosen = choose(registry, Wanted("majority,knobs,random", presets=["quick"]), log=said.append)
    assert [c.config.model_dump() for c in chosen] == [{}, {"a": 2, "b": "near", "c": (1, 2)}, {}]
    assert said == ["preset quick: none of that name for majority, random, whose defaults stay"]


@pytest.mark.parametrize(
    ("presets", "a"),
    [(["paper", "quick"], 2), (["quick", "paper"], 10), (["knobs=paper", "quick"], 10), (["knobs=quick"], 2)],
)
def test_of_several_presets_the_last_counts_and_the_methods_own_first(
    registry: Registry, presets: list[str], a: int
) -> None:
    assert configs(registry, presets=presets)[0]["a"] == a


def test_presets_of_built_in_methods_fit_their_settings() -> None:
    registry = Registry()
    own = [n for n in registry.names if registry.origin(n) == "ial-bench"]
    found = [(n, preset) for n in own for preset in registry.get(n).presets]
    assert ("addressclip", "paper") in found
    for name, preset in found:
        cls = registry.get(name)
        (choice,) = choose(registry, Wanted(name, presets=[preset]))
        stored = choice.config.model_dump(mode="json")
        for key, value in cls.presets[preset].items():
            assert stored[key] == json.loads(json.dumps(value)), (name, preset, key)


def test_a_preset_with_a_setting_that_there_is_not_breaks_the_method(tmp_path: Path) -> None:
    (tmp_path / "knobs.py").write_text(PLUGIN.replace('"quick": {"a": 2}', '"quick": {"aa": 2}'))
    found: Any = Registry([tmp_path / "knobs.py"]).look("knobs")
    assert "preset 'quick': unknown setting of knobs 'aa'; did you mean" in found.reason


def test_the_plan_and_the_table_tell_configurations_apart(
    bench: Bench, tiny_city: Dataset, tmp_path: Path, registry: Registry
) -> None:
    del registry
    common = ("run", "-d", str(tiny_city.folder), "-m", "knobs", "--plugin", str(tmp_path / "knobs.py"), "--no-timing")
    planned = json.loads(bench(*common, "--preset", "paper", "--grid", "a=10,50", "--dry-run", "--json").out)["runs"]
    assert [p["settings"] for p in planned] == ["preset paper", "preset paper, a=50"]
    assert len({p["run_id"] for p in planned}) == 2
    said = bench(*common, "--grid", "a=1,5", "--grid", "c=[1,2],[3]")
    assert said.code == 0, said.err
    assert "[4/4] tiny-city: knobs (a=5, c=[3], seed 0, run " in said.err
    for title in ("Knobs (a=1, c=[1, 2])", "Knobs (a=1, c=[3])", "Knobs (a=5, c=[1, 2])", "Knobs (a=5, c=[3])"):
        assert f"| {title.replace('[', chr(92) + '[').replace(']', chr(92) + ']')} |" in said.out
    again = bench(*common, "--grid", "a=5,1")
    assert "2 runs: 2 done already" in again.err
    bench("run", "-d", str(tiny_city.folder), "-m", "majority,random", "--no-timing")
    everything = bench("leaderboard", "-d", "tiny-city")
    assert "Most frequent address" in everything.out
    ablation = bench("leaderboard", "-d", "tiny-city", "--methods", "knobs")
    assert ablation.out == said.out
    assert r"Knobs (a=5, c={[}3{]}) & " in bench("leaderboard", "-m", "knobs", "-f", "latex").out
    two = bench("leaderboard", "--methods", "majority,random")
    assert "Knobs" not in two.out
    assert "Random" in two.out
    wrong = bench("leaderboard", "--methods", "knob")
    assert (wrong.code, "did you mean 'knobs'" in wrong.err) == (2, True)


def test_show_tells_presets_and_settings(bench: Bench) -> None:
    shown = bench("show", "addressclip").out.splitlines()
    assert (
        "setting addressclip.losses: address+caption+geography  address, caption, geography, joined by +; all" in shown
    )
    (preset,) = [line for line in shown if line.startswith("preset ")]
    assert preset.startswith("preset addressclip=paper: epochs=100, batch_size=256, ")
    assert "clip_norm=null" in preset
