"""Fitted methods on disk: while a run is going in its own folder, then in ``cache/models``, to answer anew."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.errors import DataError
from ial_bench.files import make_folder, sha256_file
from ial_bench.folders import move
from ial_bench.json_files import read_sealed, write_sealed
from ial_bench.method import Method

STATE = "state"
FACTS = "facts"
_FIT = "fit.safetensors"
PHASES = "phases.json"
"""The file that is written last: a folder that has it is whole. It has the SHA-256 of every other file."""

_ANEW = "`bench run` with --rerun fits it anew; so does the same command when the folder is deleted"


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds a fitted method."""
    return (folder / PHASES).is_file()


def store(method: Method, folder: Path, phases: Mapping[str, Any]) -> None:
    """Store a fitted method and its facts in an empty folder, and say that it is whole.

    Args:
        method: fitted.
        folder: where.
        phases: what the fit took.

    Raises:
        ValueError: its facts are no JSON.
        StorageError: the folder cannot be written to.
    """
    method.save(folder)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def restored(method: Method, folder: Path) -> dict[str, Any]:
    """Take over a fitted method with its facts; what the fit took.

    Raises:
        DataError: as of `unsealed`; or another release of the method stored it in another form.
    """
    phases = unsealed(folder)
    try:
        method.facts.update(phases.pop(FACTS))
        method.load(folder)
    except (KeyError, FileNotFoundError) as error:  # of a folder whose files are all as they were stored
        name = method.info.name
        raise DataError(f"another release of {name} stored the fitted method in {folder}: {error}", _ANEW) from error
    return phases


def tell(method: Method, folder: Path) -> None:
    """Store its facts anew, after the queries.

    Raises:
        ValueError: they are no JSON.
        StorageError: the folder cannot be written to.
    """
    phases = unsealed(folder)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def store_fit(method: Method, folder: Path, phases: Mapping[str, Any]) -> None:
    """Store what a method has fitted, before it is indexed, in an empty folder; for others to start from.

    Raises:
        ValueError: its facts are no JSON.
        StorageError: the folder cannot be written to.
    """
    from safetensors.numpy import save_file

    save_file({k: np.asarray(v, order="C") for k, v in method.fit_state().items()}, folder / _FIT)
    seal(folder, {**phases, FACTS: plain(method.facts)})


def restored_fit(method: Method, folder: Path) -> dict[str, Any]:
    """Take over what `store_fit` stored; what the fit took.

    Raises:
        DataError: as of `unsealed`.
    """
    from safetensors.numpy import load_file

    phases = unsealed(folder)
    method.facts.update(phases.pop(FACTS))
    method.restore_fit(load_file(folder / _FIT))
    return phases


def empty(folder: Path, but: Path | None = None) -> None:
    """Remove all that lies in a folder, but for one entry."""
    for path in folder.iterdir():
        if path != but:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON values; NaN and infinity, which JSON has not, are null.

    Raises:
        ValueError: they hold what is no JSON.
    """
    from pydantic_core import from_json, to_json

    try:
        told: dict[str, Any] = from_json(to_json(dict(facts), inf_nan_mode="null"))
    except ValueError as error:
        raise ValueError(f"what the method tells of itself is not JSON: {error}") from error
    return told


def seal(folder: Path, phases: Mapping[str, Any]) -> None:
    """Say that a fitted method is whole in `folder`, and what it took.

    Raises:
        StorageError: the folder cannot be written to.
    """
    write_sealed(folder / PHASES, {**phases, "files": _sums(folder)})


def unsealed(folder: Path) -> dict[str, Any]:
    """What `seal` was told, if the fitted method is still the one that was stored.

    Raises:
        DataError: a file is missing, changed or new since; or an earlier release stored it, without sums.
    """
    try:
        phases = read_sealed(folder / PHASES)
    except DataError as error:
        raise DataError(f"the fitted method in {folder} is damaged: {error.problem}", _ANEW) from error
    told, found = phases.pop("files"), _sums(folder)
    if changed := sorted(name for name in told.keys() | found.keys() if told.get(name) != found.get(name)):
        raise DataError(
            f"the fitted method in {folder} is damaged: {', '.join(changed)} is not as it was stored", _ANEW
        )
    return phases


def _sums(folder: Path) -> dict[str, str]:
    files = (f for f in sorted(folder.rglob("*")) if f.is_file() and f != folder / PHASES)
    return {f.relative_to(folder).as_posix(): sha256_file(f) for f in files}


def keep(state: Path, cache: Path, run_id: str) -> None:
    """Move the fitted method of a finished run to where `kept` finds it, in the place of an earlier one.

    Folders of the cache may lie on several disks.

    Raises:
        StorageError: the cache cannot be written to.
    """
    move(state, make_folder(cache / "models") / run_id)


def kept(cache: Path, run_id: str) -> Path | None:
    """The folder of a run's fitted method, None where it was deleted or never made here.

    A run that was killed between its record and the move has left it in its own folder.
    """
    folders = (cache / "models" / run_id, cache / "runs" / run_id / STATE)
    return next((f for f in folders if is_whole(f)), None)


def sizes(cache: Path) -> dict[str, int]:
    """Bytes of each fitted method that is kept, by run."""
    return _sizes(cache, "models/[!.]*")


def part_sizes(cache: Path) -> dict[str, int]:
    """Bytes of each shared part that is kept, by its identity."""
    return _sizes(cache, f"parts/[!.]*/{STATE}")


def _sizes(cache: Path, folders: str) -> dict[str, int]:
    return {
        folder.relative_to(cache).parts[1]: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        for folder in sorted(cache.glob(folders))
        if is_whole(folder)
    }
