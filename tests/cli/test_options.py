"""Groups of options, and what commands share to read and show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from ial_bench.cli.console import as_typed, counted
from ial_bench.cli.leaderboard import TableOptions
from ial_bench.cli.options import check_known, grouped, listed
from ial_bench.errors import UnknownNameError

Out = Annotated[Path | None, typer.Option("--out", "-o")]


@dataclass(frozen=True)
class Oven:
    heat: Annotated[int, typer.Option("--heat", "-t", help="Degrees.")]
    fan: Annotated[bool | None, typer.Option("--fan/--no-fan")] = None
    out: Out = None


def parsed(*words: str) -> tuple[list[str], dict[str, Any]]:
    """The names of the options in their order, and what the command is called with."""
    called: dict[str, Any] = {}
    app = typer.Typer(add_completion=False)

    @app.command()
    @grouped
    def bake(*, dough: str, first: Annotated[int, typer.Option()] = 1, oven: Oven, last: bool = False) -> None:
        called.update(dough=dough, first=first, oven=oven, last=last)

    command = typer.main.get_command(app)
    command.main(list(words), standalone_mode=False)
    return [p.name or "" for p in command.params], called


def test_a_group_is_its_options_in_its_place() -> None:
    names, called = parsed("rye", "-t", "230", "--no-fan", "-o", "x/y")
    assert names == ["dough", "first", "heat", "fan", "out", "last"]
    assert called == {"dough": "rye", "first": 1, "oven": Oven(230, False, Path("x/y")), "last": False}


def test_fields_keep_their_defaults_and_those_without_are_required() -> None:
    assert parsed("rye", "--heat", "200")[1]["oven"] == Oven(200)
    with pytest.raises(Exception, match="heat"):
        parsed("rye")


@pytest.mark.parametrize(
    "options",
    [
        TableOptions(),
        TableOptions(dataset="a,b", methods="c", limit=3, published=False, side_by_side=True),
        TableOptions(fmt="latex", layout=Path("x/layout.toml"), digits=0, intervals=False, siunitx=True, sort="MRR"),
    ],
)
def test_table_options_are_read_as_they_are_written(options: TableOptions) -> None:
    assert TableOptions.read(options.words()) == options


def test_only_what_is_not_the_default_is_written() -> None:
    options = TableOptions(dataset="a", methods="all", separable=False, columns="MRR", settings_as_columns=False)
    expected = ["--dataset", "a", "--columns", "MRR", "--settings-in-titles", "--no-separable"]
    assert options.words() == expected


@pytest.mark.parametrize(
    ("text", "names"), [(None, []), ("", []), (" , ", []), ("a", ["a"]), (" b,a ,,b", ["b", "a"]), ("a b", ["a b"])]
)
def test_names_between_commas(text: str | None, names: list[str]) -> None:
    assert listed(text) == names


def test_a_value_that_an_option_cannot_have_is_refused_with_those_it_can() -> None:
    check_known("split", None, ["train", "val"])
    check_known("split", "val", ["train", "val"])
    with pytest.raises(UnknownNameError, match=r"unknown split 'vall'.*did you mean 'val'"):
        check_known("split", "vall", ["train", "val"])


def test_the_next_command_is_given_a_name_or_a_path() -> None:
    folders = [None, Path("town"), Path("data/town"), Path("/data/town")]
    assert [as_typed("town", f) for f in folders] == ["town", "./town", "data/town", "/data/town"]


def test_counts_of_nothing_are_left_out() -> None:
    assert counted({"train": 1200, "val": 0, "query": 3}) == "1,200 train, 3 query"
