"""Tables of analyses."""

from __future__ import annotations

import csv
import io
import json

from ial_bench.metrics.intervals import Estimate
from ial_bench.report.sheet import Sheet

SHEET = Sheet(
    "made | up",
    ("part", "queries", "=A1", "rate"),
    (("=x|y", 1200, Estimate(0.5, (0.25, 0.75)), 0.1234), ("z", 3, Estimate(1.0, None), None)),
    ("a *note*",),
    {"dataset": "d"},
)


def test_markdown() -> None:
    assert SHEET.markdown().splitlines() == [
        "**made \\| up**", "", "| part | queries | \\=A1 | rate |", "|---|---:|---:|---:|",
        "| \\=x\\|y | 1,200 | 50.0 \\[25.0, 75.0\\] | 0.123 |", "| z | 3 | 100.0 |  |", "", "- a \\*note\\*",
    ]  # fmt: skip


def test_csv() -> None:
    header, first, second = csv.reader(io.StringIO(SHEET.csv()))
    assert header == ["part", "queries", "'=A1", "'=A1 low", "'=A1 high", "rate"]
    assert first == ["'=x|y", "1200", "0.5", "0.25", "0.75", "0.1234"]
    assert second == ["z", "3", "1.0", "", "", ""]


def test_json() -> None:
    told = json.loads(json.dumps(SHEET.as_json()))
    assert told["dataset"] == "d"
    assert told["rows"][0] == {
        "part": "=x|y", "queries": 1200, "=A1": {"value": 0.5, "ci95": [0.25, 0.75]}, "rate": 0.1234
    }  # fmt: skip
    assert told["notes"] == ["a *note*"]
