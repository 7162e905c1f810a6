"""Fitted methods on disk: while a run is going in its own folder, then in ``cache/models``, to answer anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from ial_bench.files import make_folder, storage_errors

STATE = "state"
PHASES = "phases.json"
"""The file that is written last: a folder that has it is whole."""


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds a fitted method."""
    return (folder / PHASES).is_file()


def keep(state: Path, cache: Path, run_id: str) -> None:
    """Move the fitted method of a finished run to where `kept` finds it, in the place of an earlier one.

    Raises:
        StorageError: the cache cannot be written to.
    """
    target = make_folder(cache / "models") / run_id
    with storage_errors(target):
        shutil.rmtree(target, ignore_errors=True)
        state.rename(target)


def kept(cache: Path, run_id: str) -> Path | None:
    """The folder of a run's fitted method, None where it was deleted or never made here.

    A run that was killed between its record and the move has left it in its own folder.
    """
    folders = (cache / "models" / run_id, cache / "runs" / run_id / STATE)
    return next((f for f in folders if is_whole(f)), None)


def sizes(cache: Path) -> dict[str, int]:
    """Bytes of each fitted method that is kept, by run."""
    return {
        folder.name: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        for folder in sorted((cache / "models").glob("*"))
        if is_whole(folder)
    }
