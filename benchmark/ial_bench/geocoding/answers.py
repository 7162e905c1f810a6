"""Answers of geocoding services, kept on disk: a position is asked about once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ial_bench.errors import StorageError
from ial_bench.files import make_folder
from ial_bench.geo.points import Cell

_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    service TEXT, lat INTEGER, lon INTEGER, answer TEXT, asked TEXT, PRIMARY KEY (service, lat, lon)
) WITHOUT ROWID"""


class AnswerCache:
    """Answers by service and cell.

    Several processes may use one file. Each answer is on the disk before the next is asked for.

    Args:
        path: the SQLite file; None keeps answers in memory.
        service: which service, and all of its settings that its answers depend on.
    """

    def __init__(self, path: Path | None, service: str) -> None:
        self._path, self._service = path, service
        self._memory: dict[Cell, Any] = {}

    def get(self, cell: Cell) -> tuple[bool, Any]:
        """Whether there is an answer, and the answer: a JSON value.

        Raises:
            StorageError: the file cannot be read.
        """
        if cell not in self._memory and self._path is not None and self._path.is_file():
            with self._open() as base:
                row = base.execute(
                    "SELECT answer FROM answers WHERE service = ? AND lat = ? AND lon = ?", (self._service, *cell)
                ).fetchone()
            if row is not None:
                self._memory[cell] = json.loads(row[0])
        return cell in self._memory, self._memory.get(cell)

    def put(self, cell: Cell, answer: Any) -> None:
        """Keep an answer.

        Raises:
            StorageError: the file cannot be written.
        """
        self._memory[cell] = answer
        if self._path is not None:
            asked = datetime.now(timezone.utc).isoformat(timespec="seconds")
            text = json.dumps(answer, ensure_ascii=False)
            with self._open() as base:
                base.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (self._service, *cell, text, asked)
                )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        assert self._path is not None  # noqa: S101 - asked before
        make_folder(self._path.parent)
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as base, base:  # the second commits
                base.execute(_TABLE)
                yield base
        except sqlite3.Error as error:
            raise StorageError(
                f"the answers of geocoders in {self._path} cannot be used: {error}",
                "delete the file if it is damaged, or choose another --cache",
            ) from error
