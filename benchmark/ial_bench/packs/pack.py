"""The file that results travel in: a zip of records and answers, and what they are about.

    pack.json               dataset, ground truth, licence, contact, and the checksum of every other member
    runs/RUN_ID.json        the record
    runs/RUN_ID.parquet     candidates and scores, a row a query, in the order of the ground truth

A pack holds no photos, no positions and no names of photos: queries are known by their order, and the order by the
digest of the ground truth. It is read member by member and never unpacked; the names of members are computed, not taken
from it, and their sizes are bounded. The same results give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import ial_bench
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_from
from ial_bench.errors import DataError
from ial_bench.files import atomic_path, sha256_file
from ial_bench.json_files import parse_json
from ial_bench.parquet import open_table, read_columns
from ial_bench.report.selection import Selected, runs_of
from ial_bench.topk import TopK

SUFFIX = ".ialpack"
FORMAT: Literal["ial-bench results"] = "ial-bench results"
VERSION: Literal[1] = 1
MOST_RUNS = 10_000
MOST_RECORD_BYTES = 8 << 20
MOST_ANSWER_BYTES = 1 << 30
"""Of a member, packed or not; of a table of answers, also unpacked in memory."""
_MANIFEST = "pack.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of members: the same results give the same bytes
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_AGAIN = "get it again, or ask who made it"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Told = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""A text that is shown: no control characters."""


class Sums(BaseModel):
    """Checksums of a run's members."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    record: Sha256
    answers: Sha256


class Manifest(BaseModel):
    """What a pack says about itself.

    Attributes:
        dataset: name of the dataset.
        ground_truth: `GroundTruth.digest` of what the answers were measured against.
        runs: the checksums of each run's members.
        licence: under which the results are given.
        contact: who to ask, optional.
        made_with: version of ial-bench.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["ial-bench results"] = FORMAT
    version: Literal[1] = VERSION
    dataset: Told
    dataset_digest: Sha256
    candidate_digest: Sha256
    limit: int | None = Field(ge=1)
    ground_truth: Sha256
    runs: dict[RunId, Sums] = Field(min_length=1, max_length=MOST_RUNS)
    licence: Told
    contact: Told | None = None
    made_with: Told


@dataclass(frozen=True)
class Pack:
    """A pack whose members are those that it names, and no others.

    Attributes:
        path: the file.
        sha256: of the file.
        manifest: what it says of itself.
    """

    path: Path
    sha256: str
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Pack:
        """Open a pack and check its list of members.

        Raises:
            DataError: it is not a pack, it is cut off, of a newer version, or has members that it does not name.
        """
        try:
            sha256 = sha256_file(path)
            with zipfile.ZipFile(path) as archive:
                members = _members(path, archive)
                data = _read(path, archive, members, _MANIFEST, MOST_RECORD_BYTES)
        except FileNotFoundError as error:
            raise DataError(f"no such file: {path}") from error
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DataError(f"{path} is no pack of results: {error}", _AGAIN) from error
        manifest = _manifest(path, data)
        named = {_MANIFEST, *(name for run in manifest.runs for name in _names(run))}
        if extra := sorted(members.keys() - named):
            _refuse(path, f"it has a member that it does not name: {extra[0][:80]!r}")
        if lost := sorted(named - members.keys()):
            _refuse(path, f"it lacks {lost[0]}")
        return cls(path, sha256, manifest)

    def record(self, run_id: str) -> RunRecord:
        """The record of a run.

        Raises:
            DataError: it was changed since it was packed, or is not a record.
        """
        name, _ = _names(run_id)
        data = self._member(name, self.manifest.runs[run_id].record, MOST_RECORD_BYTES)
        return record_from(parse_json(data, f"{self.path}: {name}", strict=True), f"{self.path}: {name}")

    def answers(self, run_id: str, queries: int) -> TopK:
        """The answers of a run, one row a query.

        Raises:
            DataError: they were changed since they were packed, or have another number or form.
        """
        _, name = _names(run_id)
        data = self._member(name, self.manifest.runs[run_id].answers, MOST_ANSWER_BYTES)
        try:
            return _top_of(data, queries)
        except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{self.path}: {name} does not hold answers: {error}", _AGAIN) from error

    def _member(self, name: str, sha256: str, most: int) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                data = _read(self.path, archive, _members(self.path, archive), name, most)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise DataError(f"{self.path}: {name} cannot be read: {error}", _AGAIN) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            _refuse(self.path, f"{name} was changed since it was packed")
        return data


def write_pack(
    path: Path, manifest: Callable[[Mapping[str, Sums]], Manifest], runs: Mapping[str, tuple[bytes, bytes]]
) -> Pack:
    """Write a pack, whole or not at all.

    Args:
        path: to write.
        manifest: what it says of itself, given the checksums.
        runs: record and answers of each run, as `packed_record` and `packed_answers` give them.
    """
    sums = {
        run: Sums(record=hashlib.sha256(a).hexdigest(), answers=hashlib.sha256(b).hexdigest())
        for run, (a, b) in runs.items()
    }
    contents = manifest(sums)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _put(archive, _MANIFEST, (json.dumps(contents.model_dump(mode="json"), indent=2) + "\n").encode())
        for run, members in sorted(runs.items()):
            for name, data in zip(_names(run), members, strict=True):
                _put(archive, name, data)
    return Pack.open(path)


def packed_record(record: RunRecord, answers: bytes) -> bytes:
    """A record as a pack holds it: its predictions are the pack's."""
    if record.predictions is None:
        raise DataError(f"run {record.run_id} has no predictions", "run it again with --rerun")
    _, name = _names(record.run_id)
    file = {"path": name.rpartition("/")[2], "sha256": hashlib.sha256(answers).hexdigest()}
    predictions = record.predictions.model_copy(update=file)
    kept = record.model_copy(update={"predictions": predictions, "received": None})
    return (json.dumps(kept.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def packed_answers(top: TopK) -> bytes:
    """Answers as a pack holds them: no ids, no positions."""
    k = top.indices.shape[1]
    columns = {
        "candidates": pa.FixedSizeListArray.from_arrays(pa.array(top.indices.astype(np.int32).ravel()), k),
        "scores": pa.FixedSizeListArray.from_arrays(pa.array(top.scores.astype(np.float32).ravel()), k),
    }
    if top.log_sum is not None:
        columns["log_sum"] = pa.array(top.log_sum.astype(np.float32))
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


def _top_of(data: bytes, queries: int) -> TopK:
    """Answers from a table whose form is checked before any of it is unpacked; `ValueError` where it is wrong."""
    with open_table(data, rows=queries, most=MOST_ANSWER_BYTES) as file:
        width = _width(file.schema_arrow)
        table = read_columns(file)
    lists = [table[name].combine_chunks().flatten() for name in ("candidates", "scores")]
    if any(len(v) != queries * width or v.null_count for v in lists) or any(c.null_count for c in table.columns):
        raise ValueError("empty cells")
    indices, scores = (values.to_numpy(zero_copy_only=False).reshape(queries, width) for values in lists)
    return TopK(indices, scores, None, table["log_sum"].to_numpy() if "log_sum" in table.column_names else None)


def _width(schema: pa.Schema) -> int:
    """How many candidates a row has."""
    lists = {"candidates": pa.int32(), "scores": pa.float32()}
    found = {field.name: field.type for field in schema}
    if len(found) < len(schema) or set(found) - {"log_sum"} != set(lists):
        raise ValueError(f"columns {', '.join(schema.names[:6])}")
    width: int = getattr(found["candidates"], "list_size", 0)
    wanted = {name: pa.list_(kind, width) for name, kind in lists.items()} | {"log_sum": pa.float32()}
    if width < 1 or any(kind != wanted[name] for name, kind in found.items()):
        raise ValueError("columns of other types")
    return width


def _names(run_id: str) -> tuple[str, str]:
    return f"runs/{run_id}.json", f"runs/{run_id}.parquet"


def _manifest(path: Path, data: bytes) -> Manifest:
    value = parse_json(data, f"{path}: {_MANIFEST}", strict=True)
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise DataError(
            f"{path} is a pack of version {version}, this ial-bench reads up to {VERSION}", "upgrade ial-bench"
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        _refuse(path, f"{_MANIFEST}: {'.'.join(str(p)[:80] for p in first['loc']) or 'the whole'}: {first['msg']}")


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > 2 * MOST_RUNS + 1:
        _refuse(path, f"it has {len(infos):,} members")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename in found:
            _refuse(path, f"it has {info.filename[:80]!r} twice")
        if info.is_dir() or info.flag_bits & 1 or info.compress_type not in _METHODS:
            _refuse(path, f"{info.filename[:80]!r} is a folder, encrypted, or compressed in an unusual way")
        found[info.filename] = info
    return found


def _read(path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str, most: int) -> bytes:
    if name not in members:
        _refuse(path, f"it lacks {name}")
    with archive.open(members[name]) as file:
        data = file.read(most + 1)
    if len(data) > most:
        _refuse(path, f"{name} is larger than {most / 1e6:,.0f} MB")
    return data


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, data)


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(f"{path} is no pack of results that can be trusted: {why}", _AGAIN)


LICENCE = "CC-BY-4.0"


def make_pack(
    results: Path,
    dataset: str | None,
    methods: Sequence[str],
    out: Path,
    limit: int | None = None,
    licence: str = LICENCE,
    contact: str | None = None,
) -> tuple[Pack, tuple[str, ...]]:
    """Pack the finished runs of one dataset.

    Args:
        results: folder of results.
        dataset: name; None: the only one with results.
        methods: names or ids of runs; none: all.
        out: file to write.
        limit: of the runs, photos a split; None: any.
        licence: under which the results are given.
        contact: who to ask.

    Returns:
        The pack, and what was left out and why.

    Raises:
        DataError: no finished runs, answers that are missing or changed, or results that were themselves passed on
            without positions.
        ConfigError: several datasets and none asked for.
        StorageError: `out` cannot be written.
        UnknownNameError: no such dataset or method.
    """
    selected = Selected.among(results, dataset, methods, limit)
    answers = selected.answers
    if not answers.truth.has_positions:
        raise DataError(
            f"the results of {selected.dataset!r} were passed on without positions", "pack them where they were run"
        )
    runs = {}
    for record in runs_of(selected.groups):
        packed = packed_answers(answers.top(record))
        runs[record.run_id] = (packed_record(record, packed), packed)
    about = selected.groups[0].runs[0].dataset
    pack = write_pack(
        out,
        lambda sums: Manifest(
            dataset=about.name, dataset_digest=about.digest, candidate_digest=about.candidate_digest, limit=about.limit,
            ground_truth=answers.truth.digest, runs=dict(sums), licence=licence, contact=contact,
            made_with=ial_bench.__version__,
        ),
        runs,
    )  # fmt: skip
    return pack, selected.notes
