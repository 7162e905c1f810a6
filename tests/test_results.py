"""The committed results: whole, of this schema, free of machine paths, and the source of the README's table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ial_bench.cli.leaderboard import TableOptions, check_file
from ial_bench.engine.records import read_record
from ial_bench.files import sha256_file
from ial_bench.json_files import read_json
from ial_bench.report.formats import blocks
from ial_bench.report.stale import NO_CODE

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "committed"
RECORDS = sorted(RESULTS.glob("*/*/*.json"))


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in (k, *texts_in(v))]
    if isinstance(value, list):
        return [t for v in value for t in texts_in(v)]
    return [value] if isinstance(value, str) else []


def test_there_are_three_cities() -> None:
    assert len({path.parents[1] for path in RECORDS}) >= 3


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: "/".join(p.parts[-3:]))
def test_records_are_whole(path: Path) -> None:
    record = read_record(path)
    assert record.status == "done"
    assert record.run_id == path.stem
    assert record.predictions is not None
    assert sha256_file(path.parent / record.predictions.path) == record.predictions.sha256
    assert [t for t in texts_in(read_json(path)) if re.match(r"(/|[A-Z]:\\|~/)", t)] == []


@pytest.mark.parametrize("name", ["README.md"])
def test_tables_follow_from_the_records(name: str) -> None:
    assert blocks((ROOT / name).read_text(encoding="utf-8")) != []
    assert check_file(RESULTS, TableOptions(), ROOT / name, update=False, code=NO_CODE)
