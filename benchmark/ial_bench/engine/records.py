"""Records on disk: whole or absent, and refused where they are not of the run that their name says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ial_bench.engine.identity import RunSpec
from ial_bench.engine.record import RunRecord, oddity
from ial_bench.errors import DataError
from ial_bench.files import sha256_file
from ial_bench.json_files import read_json, write_json

RECORD_VERSION = 4
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda data: {**data, "schema_version": 2},
    2: lambda data: {**data, "schema_version": 3},
    3: lambda data: {**data, "schema_version": 4},
}
"""From a record of each version to the next: 2 added `method.encoder`, 3 `median_ci95` and `received`, 4
`dataset.truth_digest` and `dataset.contents_digest`."""
MOST_BYTES = 4 << 20
"""Largest file of a record."""


def record_path(results: Path, dataset: str, method: str, run_id: str) -> Path:
    """Where a run's record lies."""
    return results / dataset / method / f"{run_id}.json"


def write_record(path: Path, record: RunRecord) -> None:
    """Store a record, whole or not at all.

    Raises:
        ValueError: it holds values that could not be read again.
        StorageError: it cannot be written.
    """
    data = record.model_dump(mode="json")
    if problem := oddity(data):
        raise ValueError(problem)
    write_json(path, data)


def read_record(path: Path) -> RunRecord:
    """Read a record; one of an earlier version is brought to the current one.

    Raises:
        DataError: cut off, of a newer schema or another form, with impossible numbers, or of another run than its name
            and its id say.
    """
    record = record_from(read_json(path, MOST_BYTES, strict=True), str(path))
    if path.stem != record.run_id or not RunSpec.of(record).is_called(record.run_id):
        raise DataError(
            f"{path} is the record of another run: {RunSpec.of(record).run_id} is the id of its method, version, "
            f"settings, encoder, dataset, seed and k",
            "run it again, or delete the file",
        )
    return record


def record_from(data: Any, name: str) -> RunRecord:
    """A record from its JSON, which errors call `name`.

    Raises:
        DataError: as `read_record`.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > RECORD_VERSION:
        raise DataError(
            f"{name} has schema_version {version}, this ial-bench reads up to {RECORD_VERSION}",
            "upgrade ial-bench (pip install -U ial-bench)",
        )
    try:
        return RunRecord.model_validate(_migrated(data, version))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the whole"
        raise DataError(
            f"{name} is not a run record: {where}: {first['msg']}", "run it again, or delete the file"
        ) from error


def _migrated(data: Any, version: Any) -> Any:
    """A record of an earlier version, brought to this one; anything else unchanged, for validation to refuse."""
    while type(version) is int and version in MIGRATIONS:
        data, version = MIGRATIONS[version](data), version + 1
    return data


def records(results: Path, dataset: str | None = None) -> Iterator[tuple[Path, RunRecord | DataError]]:
    """All records below a results folder, or the reason why one cannot be read."""
    for path in sorted(results.glob("*/*/*.json"), key=attrgetter("parts")):
        *_, name, method, _ = path.parts
        if dataset is not None and name != dataset:
            continue
        try:
            record = read_record(path)
            if (name, method) != (record.dataset.name, record.method.name):
                belongs = " / ".join(part[:60] for part in (record.dataset.name, record.method.name))
                raise DataError(f"{path} is the record of another run: {belongs}", "delete the file")
        except DataError as error:
            yield path, error
        else:
            yield path, record


def datasets_with_results(results: Path) -> list[str]:
    """Names of the datasets that have records below a results folder."""
    return sorted({path.parent.parent.name for path in results.glob("*/*/*.json")})


def finished(results: Path, dataset: str, spec: RunSpec) -> RunRecord | None:
    """The record of the run if it is done and its predictions are still as they were written."""
    path = record_path(results, dataset, spec.method, spec.run_id)
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except DataError:
        return None  # the run is repeated, and the record replaced
    if record.status != "done" or record.predictions is None:
        return None
    file = path.parent / Path(record.predictions.path).name
    return record if file.is_file() and sha256_file(file) == record.predictions.sha256 else None
