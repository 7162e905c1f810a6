"""Finding methods: entry points of an installed third party, plugin files, broken ones, names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
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


def before(*folders: Path) -> str:
    """A path on which `folders` stand before what is on it."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


def bench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": before(site)}
    return subprocess.run([sys.executable, "-m", "ial_bench.cli", *arguments], capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def listed(site: Path) -> subprocess.CompletedProcess[str]:
    """What `bench list methods --json` says where it is installed."""
    return bench(site, "list", "methods", "--json")


def test_an_installed_plugin_is_found_and_runs(
    site: Path, listed: subprocess.CompletedProcess[str], tiny_city: Any, tmp_path: Path
) -> None:
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


def test_broken_plugins_stay_listed_with_their_reason(site: Path, listed: subprocess.CompletedProcess[str]) -> None:
    found = {m["name"]: m for m in json.loads(listed.stdout)}
    assert found["broken-on-import"]["broken"]
    assert "a library that this plugin needs is missing" in found["broken-on-import"]["summary"]
    assert "not a subclass" in found["not-a-method"]["summary"]
    assert "info.name is 'third-party'" in found["misnamed"]["summary"]
    assert "SystemExit: 0" in found["exits-on-import"]["summary"]
    shown = bench(site, "show", "broken-on-import")
    assert "Traceback" in shown.stdout
    ran = bench(site, "run", "-d", "x", "-m", "broken-on-import")
    assert ran.returncode == 2
    assert "is broken" in ran.stderr


def test_a_plugin_that_ends_the_command_is_named(site: Path) -> None:
    """Its exit code would say that all went well."""
    ran = bench(site, "run", "-d", "x", "-m", "exits-on-import")
    assert ran.returncode == 2
    assert "method 'exits-on-import' of ial-bench-test-plugin is broken: SystemExit: 0" in ran.stderr
    assert "Traceback" in bench(site, "show", "exits-on-import").stdout


def test_built_in_names_win(listed: subprocess.CompletedProcess[str]) -> None:
    found = {m["name"]: m for m in json.loads(listed.stdout)}
    assert found["majority"]["origin"] == "ial-bench"
    assert "method 'majority' of ial-bench-test-plugin is hidden by the one of ial-bench" in listed.stderr


def test_all_leaves_out_the_broken_ones_and_says_so(site: Path, tiny_city: Any) -> None:
    planned = bench(site, "run", "-d", str(tiny_city.folder), "--dry-run", "--json", "--set", "linear-probe.c=1")
    assert {p["method"] for p in json.loads(planned.stdout)["runs"]} == BUILT_IN | {"third-party"}
    told = [line for line in planned.stderr.splitlines() if "is broken and left out" in line]
    assert len(told) == 4
    (broken,) = [line for line in told if "'broken-on-import'" in line]
    assert broken.startswith(
        "note: method 'broken-on-import' of ial-bench-test-plugin is broken and left out: ImportError"
    )
    assert re.search(r"broken\.py:3\)$", broken)


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


def test_a_plugin_file_goes_before_what_is_installed_and_the_first_file_before_others(tmp_path: Path) -> None:
    file, other = tmp_path / "mine.py", tmp_path / "other.py"
    for path in (file, other):
        path.write_text(METHOD.format(name="random"))
    registry = Registry([file, other])
    assert registry.origin("random") == str(file)
    assert registry.get("random").info.title == "Mine"
    assert registry.notes == [
        f"method 'random' of {other} is hidden by the one of {file}",
        f"method 'random' of {file} takes the place of the one of ial-bench",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library' (FILE:2)"),
        ("def half(", "SyntaxError: '(' was never closed (FILE:2)"),
        ("1 / 0", "ZeroDivisionError: division by zero (FILE:2)"),
        ("import json; json.loads('{')", "JSONDecodeError: Expecting property name"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines (FILE:2)"),
        ("assert False", "AssertionError (FILE:2)"),
        ("import sys; sys.exit()", "SystemExit (FILE:2)"),
        ("import sys; sys.exit('no GPU here')", "SystemExit: no GPU here (FILE:2)"),
        ("raise SystemExit(0)", "SystemExit: 0 (FILE:2)"),
    ],
)
def test_a_broken_plugin_file_is_listed_with_its_error_and_place(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "half_done.py"
    file.write_text(f"\n{text}\n")
    reason = reason.replace("FILE", str(file))
    registry = Registry([file])
    found = registry.look("half-done")
    assert isinstance(found, Broken)
    assert "Traceback" in found.traceback
    assert found.reason.startswith(reason)
    assert found.reason.endswith(f"({file}:2)")
    assert registry.notes == [f"{file} cannot be imported: {found.reason}"]
    assert registry.select("random,majority") == ["random", "majority"]
    for asked in ("all", "half-done", "random,half-done", "a-name-that-it-may-have"):
        with pytest.raises(ConfigError) as told:
            registry.select(asked)
        assert found.reason in told.value.problem
        assert f"`bench show half-done --plugin {file}`" in (told.value.fix or "")
    with pytest.raises(ConfigError, match="did you mean 'linear-probe'"):
        registry.get("linear-prob")


def test_a_broken_file_does_not_leave_its_name_to_a_built_in_method(tmp_path: Path) -> None:
    file = tmp_path / "linear_probe.py"
    file.write_text("import no_such_library\n")
    with pytest.raises(ConfigError, match="no_such_library"):
        Registry([file]).select("linear-probe")


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
    registry = Registry([file])
    found = registry.look("abstract")
    assert isinstance(found, Broken)
    assert found.reason == "TypeError: Mine does not implement predict"
    assert registry.notes == [f"method 'abstract' of {file} is broken: {found.reason}"]
    with pytest.raises(ConfigError, match="does not implement predict"):
        registry.select("all")


def test_an_interrupt_is_none_of_a_plugin_s_faults(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Registry([file])


NO_NAMES = [
    "../../elsewhere",
    "a/b",
    "/absolute",
    "..",
    ".",
    "",
    ".hidden",
    "-x",
    "a b",
    "a\\b",
    "a\0b",
    "a\nb",
    "ä",
    "a" * 101,
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_leads_elsewhere_is_broken(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.replace('"{name}"', repr(name)))
    registry = Registry([file])
    found = registry.look("mine")
    assert isinstance(found, Broken)
    assert found.reason == f"ConfigError: {name!r} cannot be a method's name ({file}:6)"
    assert registry.notes == [f"{file} cannot be imported: {found.reason}"]


@pytest.mark.parametrize("name", ["mine", "Mine_2", "my.own+method", "a" * 100, "7"])
def test_names_of_letters_digits_and_some_signs_are_none_of_these(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format(name=name))
    assert Registry([file]).get(name).info.name == name


def test_an_info_that_is_none_is_broken(tmp_path: Path) -> None:
    """One that only looks like it could have any name."""
    file = tmp_path / "mine.py"
    for info in ('type("Info", (), {"name": "../../elsewhere"})()', "3"):
        file.write_text(re.sub(r"MethodInfo\(name.*\)", info, METHOD))
        registry = Registry([file])
        (name,) = [n for n in registry.names if registry.origin(n) == str(file)]
        found = registry.look(name)
        assert isinstance(found, Broken)
        assert re.fullmatch(r"TypeError: its info is a \w+, not an ial_bench.MethodInfo", found.reason)


def test_a_preset_that_ends_the_command_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format(name="mine") + SETTINGS)
    found = Registry([file]).look("mine")
    assert isinstance(found, Broken)
    assert "preset 'small'" in found.reason
    assert "the Config of mine called sys.exit(3)" in found.reason


SETTINGS = """
    presets = {"small": {"size": 1}}
    class Config(Method.Config):
        size: int = 2
        def model_post_init(self, _):
            if self.size < 2:
                raise SystemExit(3)
"""


# ---------------------------------------------------------------------------------------------------- its source


def test_the_source_of_a_file_is_its_bytes_and_runs_as_it_is(tmp_path: Path) -> None:
    """Two texts of one length within one second: Python's cache of compiled code would take one for the other."""
    file = tmp_path / "mine.py"
    for title in ("One", "Two", "One"):
        text = METHOD.format(name="mine").replace('"Mine"', f'"{title}"')
        file.write_text(text)
        os.utime(file, (1e9, 1e9))
        registry = Registry([file])
        assert registry.get("mine").info.title == title
        assert registry.source("mine") == hashlib.sha256(text.encode()).hexdigest()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]  # nothing compiled is left beside it


def test_what_comes_with_ial_bench_has_no_source_but_a_version() -> None:
    registry = Registry()
    assert {registry.source(name) for name in BUILT_IN} == {None}
    with pytest.raises(UnknownNameError):
        registry.source("no-such-method")


def source_of(*folders: Path, name: str = "third-party") -> str:
    """An installed method's source as a fresh process knows it, which is to import nothing of the plugin."""
    script = (
        "import sys\nfrom ial_bench.registry import Registry\nregistry = Registry()\n"
        f"print(registry.source({name!r}), any(m.startswith('ial_bench_test') for m in sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": before(*folders)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    source, imported = done.stdout.split()
    assert imported == "False"
    return source


def test_the_source_of_a_distribution_is_all_its_files(site: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    package = copy / "ial_bench_test_plugin"
    first = source_of(copy)
    assert len(first) == 64
    assert source_of(copy, name="broken-on-import") == first  # a broken one has a source too
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    metadata = next(copy.glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + "\nwords\n")
    assert source_of(copy) == first
    changed = package / "broken.py"  # not the module of the method, but it may be imported by it
    text = changed.read_text()
    changed.write_text(text + "\n")
    assert source_of(copy) != first
    changed.write_text(text)
    assert source_of(copy) == first
    changed.unlink()
    assert source_of(copy) != first


def test_an_editable_install_has_the_source_of_its_package(site: Path, tmp_path: Path) -> None:
    """As pip leaves it: the distribution lists a file that leads to the source, and none of the source."""
    sources = Path(shutil.copytree(PACKAGE / "src", tmp_path / "src"))
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    shutil.rmtree(copy / "ial_bench_test_plugin")
    about = next(copy.glob("*.dist-info"))
    (about / "direct_url.json").write_text(json.dumps({"url": f"file://{sources}", "dir_info": {"editable": True}}))
    (about / "RECORD").write_text(f"_ial_bench_test_plugin.pth,,\n{about.name}/METADATA,,\n")
    assert source_of(copy, sources) == source_of(site)
    (about / "direct_url.json").unlink()  # nothing but the list tells
    assert source_of(copy, sources) == source_of(site)
    (sources / "ial_bench_test_plugin" / "more.py").write_text("x = 1\n")
    assert source_of(copy, sources) != source_of(site)
    assert source_of(copy) == "None"  # the source is not to be found


def test_unknown_names_say_what_was_meant() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'linear-probe'"):
        Registry().get("linear-prob")
    with pytest.raises(UnknownNameError, match="did you mean 'retrieval'"):
        Registry().select("majority,retreival")
    with pytest.raises(UnknownNameError, match="no method named"):
        Registry().select(" , ")


def test_select_keeps_order_and_drops_repeats() -> None:
    assert Registry().select("retrieval, majority,retrieval") == ["retrieval", "majority"]
