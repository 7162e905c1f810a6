"""What the documentation shows works: its code runs, its commands have the options they use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from ial_bench.cli import reference
from ial_bench.cli.main import app, joined_lists
from ial_bench.registry import Registry
from ial_bench.testing import check_method

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted({
    command.strip()
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    for command in re.split(r"&&|;", line.split("  #")[0])
    if re.match(r"(\$ )?(\.venv/bin/)?bench ", command.strip())
})  # fmt: skip


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_parse(text: str) -> None:
    words = joined_lists(shlex.split(text.removeprefix("$ ").removeprefix(".venv/bin/"))[1:])
    command: Any = typer.main.get_command(app)
    context = command.make_context("bench", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"no verb {name!r}"
        command = command.commands[name]
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("name", ["my-majority", "sharper"])
def test_the_methods_in_the_docs_keep_the_contract(tmp_path: Path, name: str) -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f'name="{name}"' in c)
    file = tmp_path / "from_docs.py"
    file.write_text(code)
    check_method(Registry([file]).get(name))


def test_built_in_methods_are_documented() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    own = [n for n in Registry().names if Registry().origin(n) == "ial-bench"]
    assert [n for n in own if f"| `{n}` |" not in page] == []


@pytest.mark.parametrize("page", [reference.COMMANDS, reference.CARDS])
def test_reference_pages_are_those_of_the_code(page: str, tmp_path: Path) -> None:
    """`python -m ial_bench.cli.reference docs results/committed` writes them anew."""
    reference.main(tmp_path, ROOT / "results" / "committed")
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == (tmp_path / page).read_text(encoding="utf-8")
