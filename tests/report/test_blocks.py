"""Tables in files, with the options that made them."""

from __future__ import annotations

import re

import pytest

from ial_bench.errors import ConfigError, DataError
from ial_bench.report.formats import blocks, difference, enclosed, made_anew

WORDS = ["--dataset", "my city", "--metrics", "SSA-1,MRR", "--layout", "a'b --> c -->-->.toml", "--sort", '"%$']


@pytest.mark.parametrize("fmt", ["md", "html", "latex"])
def test_options_are_read_as_they_were_written(fmt: str) -> None:
    text = enclosed("one\n\ntwo\n", fmt, WORDS)
    (block,) = blocks(f"before\n{text}after\n")
    assert list(block.words) == WORDS
    assert block.text == "one\n\ntwo\n"
    first = text.splitlines()[0]
    if fmt == "latex":
        assert first.startswith("% bench leaderboard --dataset 'my city'")
    else:
        assert re.findall("--!?>", first) == ["-->"]
        assert first.endswith(" -->")


def test_csv_and_json_have_no_comments() -> None:
    assert [enclosed("x\n", fmt, WORDS) for fmt in ("csv", "json")] == ["x\n"] * 2


def test_an_option_may_not_end_the_comment() -> None:
    with pytest.raises(ConfigError, match="cannot be printed"):
        enclosed("x\n", "latex", ["--dataset", "a\n\\input{b}"])


def test_all_tables_of_a_file_are_made_anew_and_nothing_else_is_touched() -> None:
    one, two = enclosed("old\n", "md", ["1"]), enclosed("", "md", ["2"])
    file = f"# Title\r\n\n{one}\nbetween\n{two}no end of line"
    new = made_anew(file, lambda words: f"table {' '.join(words)}\nmore\n")
    assert new == file.replace("old\n", "table 1\nmore\n").replace(
        "leaderboard 2 -->\n", "leaderboard 2 -->\ntable 2\nmore\n"
    )
    assert made_anew(new, lambda words: f"table {' '.join(words)}\nmore\n") == new
    assert made_anew("no table\n", lambda _: "x\n") == "no table\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\n% bench leaderboard\nb\n", "line 2: the table has no end"),
        ("% bench leaderboard\n% bench leaderboard\n% end of bench leaderboard\n", "line 1: the table has no end"),
        (
            "<!-- bench leaderboard --dataset 'x -->\n<!-- end of bench leaderboard -->\n",
            "line 1: options that cannot be read",
        ),
    ],
)
def test_a_table_without_an_end_or_options_is_named(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        blocks(text)


def test_other_comments_are_no_tables() -> None:
    assert blocks("<!-- bench leaderboards -->\n% see bench leaderboard\n% end of bench leaderboard\n") == []


def test_differences_name_the_lines() -> None:
    assert difference("a\nb\n", "a\nb\n", "f") == ""
    found = difference("a\nb", "a\nc\n", "f.md").splitlines()
    assert found[0] == "--- f.md"
    assert found[-2:] == ["-b", "+c"]
