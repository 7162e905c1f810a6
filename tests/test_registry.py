"""Finding methods: entry points of an installed third party, plugin files, broken ones, names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ial_bench.errors import ConfigError, UnknownNameError
from ial_bench.registry import Broken, Registry

PACKAGE = Path(__file__).parent / "plugin_package"
BUILT_IN = {
    "addressclip", "clip-adapter", "clip-address", "clip-zero-shot", "cocoop", "coop", "fusion",
    "fusion-geographic", "gps-oracle", "linear-probe", "majority", "maple", "random", "retrieval",
    "retrieval-tuned", "tip-adapter", "tip-adapter-f", "two-stage", "two-stage-location", "two-stage-regression",
}  # fmt: skip
METHOD = """
from ial_bench import Method, MethodInfo, TopK
import numpy as np

class Mine(Method):
    info = MethodInfo(name="{name}", title="Mine", family="mine")
    def predict(self, images, k):
        return TopK.from_scores(np.zeros((len(images), 6)), k)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The third-party distribution, built and installed by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target",
         str(target), str(PACKAGE)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return target


def bench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, "-m", "ial_bench.cli", *arguments], capture_output=True, text=True, env=env)


def test_an_installed_plugin_is_found_and_runs(site: Path, tiny_city: Any, tmp_path: Path) -> None:
    listed = bench(site, "list", "methods", "--json")
    found = {m["name"]: m for m in json.loads(listed.stdout)}
    assert found["third-party"]["origin"] == "ial-bench-test-plugin"
    assert found["third-party"]["summary"] == "The last address first."
    assert set(found) > BUILT_IN
    ran = bench(
        site,
        "run",
        "-d",
        str(tiny_city.folder),
        "-m",
        "third-party",
        "--results",
        str(tmp_path),
        "--no-timing",
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    (record,) = json.loads(ran.stdout)
    assert record["method"]["origin"] == "ial-bench-test-plugin"
    assert record["metrics"]["accuracy"]["SSA-1"]["value"] == pytest.approx(1 / 6)  # the last of six addresses


def test_broken_plugins_stay_listed_with_their_reason(site: Path) -> None:
    found = {m["name"]: m for m in json.loads(bench(site, "list", "methods", "--json").stdout)}
    assert found["broken-on-import"]["broken"]
    assert "a library that this plugin needs is missing" in found["broken-on-import"]["summary"]
    assert "not a subclass" in found["not-a-method"]["summary"]
    assert "info.name is 'third-party'" in found["misnamed"]["summary"]
    shown = bench(site, "show", "broken-on-import")
    assert "Traceback" in shown.stdout
    ran = bench(site, "run", "-d", "x", "-m", "broken-on-import")
    assert ran.returncode == 2
    assert "is broken" in ran.stderr


def test_built_in_names_win(site: Path) -> None:
    listed = bench(site, "list", "methods", "--json")
    found = {m["name"]: m for m in json.loads(listed.stdout)}
    assert found["majority"]["origin"] == "ial-bench"
    assert "method 'majority' of ial-bench-test-plugin is hidden by the one of ial-bench" in listed.stderr


def test_all_leaves_out_the_broken_ones(site: Path, tiny_city: Any) -> None:
    planned = bench(site, "run", "-d", str(tiny_city.folder), "--dry-run", "--json", "--set", "linear-probe.c=1")
    assert {p["method"] for p in json.loads(planned.stdout)} == BUILT_IN | {"third-party"}


def test_built_in_methods_are_found() -> None:
    registry = Registry()
    assert set(registry.names) >= BUILT_IN
    for name in BUILT_IN:
        method = registry.get(name)
        assert method.info.name == name
        assert method.info.title
        assert method.info.summary


def test_a_plugin_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format(name="mine"))
    registry = Registry([file])
    assert registry.get("mine").info.title == "Mine"
    assert registry.origin("mine") == str(file)


def test_a_plugin_file_cannot_take_a_built_in_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format(name="random"))
    registry = Registry([file])
    assert registry.origin("random") == "ial-bench"
    assert registry.notes == [f"method 'random' of {file} is hidden by the one of ial-bench"]


@pytest.mark.parametrize("text", ["import no_such_library", "def half(", "1 / 0"])
def test_a_broken_plugin_file_is_listed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "half.py"
    file.write_text(text)
    registry = Registry([file])
    found = registry.look("half")
    assert isinstance(found, Broken)
    assert "Traceback" in found.traceback
    assert set(registry.select("all")) >= BUILT_IN
    with pytest.raises(ConfigError, match=r"'half' of .* is broken"):
        registry.get("half")


def test_a_plugin_file_without_methods(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("x = 1\n")
    with pytest.raises(ConfigError, match="defines no method"):
        Registry([file])
    with pytest.raises(ConfigError, match="no such plugin file"):
        Registry([tmp_path / "absent.py"])


def test_a_method_without_predict_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "half.py"
    file.write_text(METHOD.format(name="abstract").replace("def predict", "def predcit"))
    found = Registry([file]).look("abstract")
    assert isinstance(found, Broken)
    assert "does not implement predict" in found.reason


def test_unknown_names_say_what_was_meant() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'linear-probe'"):
        Registry().get("linear-prob")
    with pytest.raises(UnknownNameError, match="did you mean 'retrieval'"):
        Registry().select("majority,retreival")
    with pytest.raises(UnknownNameError, match="no method named"):
        Registry().select(" , ")


def test_select_keeps_order_and_drops_repeats() -> None:
    assert Registry().select("retrieval, majority,retrieval") == ["retrieval", "majority"]
