"""HTML and JSON, read back: nothing in a text may become markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from ial_bench.report.formats import text_of
from support.made_tables import HOSTILE, line, make_table, ranked_table, side_by_side

TAGS = {
    "html", "meta", "title", "style", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li", "b",
    "u", "small",
}  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, and the texts in elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements are nested"

    def handle_data(self, data: str) -> None:
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1] = (self.open[-1], self.texts[-1][1] + data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def of(self, tag: str) -> list[str]:
        return [text.strip() for t, text in self.texts if t == tag]


@pytest.mark.parametrize("text", [*HOSTILE, '" onmouseover="alert(1)', "</style><script>x</script>", "&#60;b&#62;"])
def test_a_page_shows_any_text_as_it_is(text: str) -> None:
    page = Page(text_of([make_table([text], (text,), name=text)], "html"))
    assert page.of("td")[:2] == [line(text)] * 2
    assert (page.of("li"), page.of("caption")) == ([line(text)], [line(text)])
    assert page.of("title") == [f"Leaderboard: {line(text)}"]
    assert {tag for tag, _ in page.tags} <= TAGS
    assert page.open == []
    assert page.comments == []
    allowed = {"lang", "charset", "name", "content", "http-equiv", "class", "scope", "colspan"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = text_of([ranked_table(), side_by_side()], "html")
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", text)
    (policy,) = [a["content"] for t, a in Page(text).tags if t == "meta" and a.get("http-equiv")]
    assert policy is not None
    assert "default-src 'none'" in policy


def test_numbers_marks_and_headings_of_a_page() -> None:
    page = Page(text_of([ranked_table()], "html"))
    assert (page.of("b"), page.of("u")) == (["98.8", "1.00"], ["50.0"])
    assert page.of("small") == ["[90.0, 99.9]", "[25.0, 75.0]"]
    text = text_of([ranked_table()], "html")
    assert "<u>50.0</u>†" in text
    assert "oracles (not ranked)" in page.of("th")
    beside = Page(text_of([side_by_side()], "html"))
    assert [a["colspan"] for t, a in beside.tags if t == "th" and a.get("scope") == "colgroup"] == ["1", "2", "2"]
    assert "two&city" in beside.of("th")
    assert "Ours & others" in beside.of("th")


def test_json_has_numbers_as_they_are_and_texts_untouched() -> None:
    (table,) = json.loads(text_of([ranked_table()], "json"))
    first, second = table["rows"][:2]
    assert first["cells"]["SSA-1"] == {
        "value": 0.98765, "ci95": [0.9, 0.999], "seed_sd": 0.01234, "mark": "best", "not_separable_from_best": False,
    }  # fmt: skip
    assert second["cells"]["SSA-1"]["not_separable_from_best"] is True
    assert first["cells"]["backbone"] == "ViT"
    assert [c["key"] for c in table["columns"] if c["fraction"]] == ["SSA-1", "SSA-1 seed sd"]
    (hostile,) = json.loads(text_of([make_table(HOSTILE, tuple(HOSTILE))], "json"))
    assert [r["method"] for r in hostile["rows"]] == HOSTILE
    assert hostile["notes"] == HOSTILE
