"""`bench`, called in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ial_bench.cli import main as cli
from support.bench_command import Bench, Said


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Calls ``bench ARGUMENTS...``."""
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "")  # and taken back, should --debug set it
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run
