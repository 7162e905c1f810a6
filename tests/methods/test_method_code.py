"""Versions of built-in methods follow their code, and what tells so is quiet where nothing is to be done."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from ial_bench.registry import Registry
from methods.method_code import FILE, SCRIPT, kept, main, message, normalised, now


def test_versions_follow_the_code() -> None:
    """Where a built-in method's code changes, its version is raised, or it is said why its answers stay as they were.

    What counts as a method's code, and why, stands in `method_code.py`; the message names the files and the command.
    """
    told = message(kept(), now())
    if told:
        pytest.fail(told, pytrace=False)


def test_all_built_in_methods_are_held_with_the_version_that_they_tell() -> None:
    registry, found = Registry(), now()
    own = {name for name in registry.names if registry.origin(name) == "ial-bench"}
    assert own == set(found)
    for name, code in found.items():
        assert registry.get(name).info.version == code.version, name


def test_the_code_of_a_method_is_what_its_answers_come_from() -> None:
    found = now()
    assert list(found["majority"].files) == [
        "benchmark/ial_bench/seeds.py", "benchmark/ial_bench/topk.py", "methods/ial_methods/baselines.py",
    ]  # fmt: skip
    addressclip = {Path(f).name for f in found["addressclip"].files}
    assert addressclip >= {"method.py", "task.py", "losses.py", "loop.py", "sampler.py", "towers.py", "points.py"}
    assert "benchmark/ial_bench/encoders/pooling.py" in found["retrieval-tuned"].files
    everything = {f for code in found.values() for f in code.files}
    assert not [f for f in everything if "/engine/" in f or "/report/" in f or "/cli/" in f]


# ------------------------------------------------------------------------------------------------ a small project

POINTS = """[project.entry-points."ial_bench.methods"]
one = "ial_methods.one:One"
two = "ial_methods.two:Two"
"""
HOMES = '_HOMES = {"unit_norm": "frozen", "Method": "method"}\n'
ONE = '''"""One."""
from ial_bench import Method, MethodInfo, unit_norm
from ial_methods.shared import half


class One(Method):
    info = MethodInfo(name="one", title="One")

    def predict(self, x):
        """Answer."""
        return half(unit_norm(x))
'''
TWO = """from ial_bench import Method, MethodInfo
from ial_methods.shared import half


class Two(Method):
    info = MethodInfo(name="two", title="Two", version="3")
"""
FROZEN = "from ial_bench.method import Method\n\n\ndef unit_norm(x):\n    return x / abs(x)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two methods, whose code is written down."""
    for path, text in {
        "pyproject.toml": POINTS, "benchmark/ial_bench/__init__.py": HOMES, "benchmark/ial_bench/frozen.py": FROZEN,
        "benchmark/ial_bench/method.py": "class Method: pass\n", "methods/ial_methods/__init__.py": '"""Methods."""\n',
        "methods/ial_methods/one.py": ONE, "methods/ial_methods/two.py": TWO,
        "methods/ial_methods/shared.py": "def half(x):\n    return x / 2\n", "tests/methods/.keep": "",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert main(["--update"], tmp_path) == 0
    return tmp_path


def change(project: Path, path: str, old: str, new: str) -> None:
    text = (project / path).read_text()
    assert old in text
    (project / path).write_text(text.replace(old, new))


def told(project: Path) -> str:
    return message(kept(project), now(project))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("methods/ial_methods/one.py", '"""Answer."""', '"""Answer in other words."""'),
        ("methods/ial_methods/one.py", "half(unit_norm(x))", "half(\n            unit_norm(x)  # a unit\n        )"),
        ("methods/ial_methods/one.py", 'title="One"', 'title="The one", summary="New words."'),
        ("methods/ial_methods/one.py", "\n\n\nclass", "\nif TYPE_CHECKING:\n    import more\n\n\nclass"),
        ("benchmark/ial_bench/method.py", "pass", "x = 1"),
    ],
    ids=["docstring", "comment and layout", "card", "typing", "a module that does not count"],
)  # fmt: skip
def test_what_cannot_change_an_answer_is_let_pass(project: Path, path: str, old: str, new: str) -> None:
    change(project, path, old, new)
    assert told(project) == ""


def test_changed_code_is_told_with_its_files_and_commands(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(project, "methods/ial_methods/shared.py", "x / 2", "x / 3")
    change(project, "benchmark/ial_bench/frozen.py", "abs(x)", "abs(x + 1)")
    said = told(project).splitlines()
    assert said[:2] == [
        "one: the version is the same, the code is not: benchmark/ial_bench/frozen.py, methods/ial_methods/shared.py",
        "two: the version is the same, the code is not: methods/ial_methods/shared.py",
    ]
    assert f'python {SCRIPT} --unchanged "REASON" one two' in said[2]
    assert f"raise `version` in the method's MethodInfo, then python {SCRIPT} --update" in said[3]
    assert main(["--update"], project) == 1  # no version was raised
    assert capsys.readouterr().out.splitlines()[-4:] == said


def test_a_raised_version_or_a_reason_settles_it(project: Path) -> None:
    change(project, "methods/ial_methods/shared.py", "x / 2", "x / 3")
    assert main(["--unchanged", "two has no use for it", "two"], project) == 1
    assert kept(project).methods["two"].unchanged == "two has no use for it"
    assert "one: the version is the same, the code is not: methods/ial_methods/shared.py" in told(project)
    assert "two:" not in told(project)
    change(project, "methods/ial_methods/one.py", 'title="One"', 'title="One", version="2"')
    assert "one: of another version" in told(project)
    assert main(["--update"], project) == 0
    assert told(project) == ""
    assert kept(project).methods["one"].version == "2"
    assert kept(project).methods["two"].unchanged == "two has no use for it"
    change(project, "methods/ial_methods/two.py", '"3"', '"4"')
    assert main(["--update"], project) == 0
    assert kept(project).methods["two"].unchanged == ""  # the reason was the last version's


def test_methods_come_and_go(project: Path) -> None:
    change(project, "pyproject.toml", "one =", "first =")
    assert told(project).splitlines()[:2] == ["first: new", "one: gone"]
    assert main(["--update"], project) == 0
    assert set(kept(project).methods) == {"first", "two"}
    (project / FILE).unlink()
    assert main([], project) == 1
    assert main(["--update"], project) == 0


@pytest.mark.parametrize("arguments", [["--unchanged", " "], ["one"], ["--unchanged", "why", "three"]])
def test_the_command_refuses_what_makes_no_sense(project: Path, arguments: list[str]) -> None:
    before = (project / FILE).read_bytes()
    with pytest.raises(SystemExit):
        main(arguments, project)
    assert (project / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x + 1", "x + 2"), ("f(a, b)", "f(b, a)"), ("{**a, 'b': c}", "{'b': a, **c}"), ("1", "1.0"), ("'a'", "b'a'"),
        ("f'{x:.2f}'", "f'{x:.3f}'"), ("x if y else z", "z if y else x"), ("None", "...."[:3]), ("-x", "+x"),
        ("lambda *, a, b=1: 0", "lambda *, a=1, b: 0"),
    ],
)  # fmt: skip
def test_different_code_is_told_apart(a: str, b: str) -> None:
    assert normalised(ast.parse(a).body) != normalised(ast.parse(b).body)


def test_fields_of_later_pythons_do_not_count_while_empty() -> None:
    body: list[Any] = ast.parse("def f(x):\n    return x\n\n\nclass A:\n    pass\n").body
    plain = normalised(body)
    for node in body:
        node._fields = (*type(node)._fields, "type_params", "of_a_later_python")
        node.type_params, node.of_a_later_python = [], None
    assert normalised(body) == plain
