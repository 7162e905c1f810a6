"""Packs with one thing changed: a change a kind, made over and over with other runs and other numbers.

Each change is made as somebody would who knows the format: checksums inside the pack are brought along, unless they are
what is changed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.engine.identity import RunSpec
from ial_bench.packs.pack import packed_answers
from ial_bench.topk import TopK


@dataclass
class Open:
    """A pack taken apart.

    Attributes:
        manifest: of the pack.
        records: by run id.
        answers: by run id.
        extra: further members.
        stale: run ids whose checksums stay as they were.
    """

    manifest: dict[str, Any]
    records: dict[str, dict[str, Any]]
    answers: dict[str, bytes]
    extra: dict[str, bytes] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, path: Path) -> Open:
        """Take a pack apart."""
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members["pack.json"])
        return cls(
            manifest,
            {run: json.loads(members[f"runs/{run}.json"]) for run in manifest["runs"]},
            {run: members[f"runs/{run}.parquet"] for run in manifest["runs"]},
        )

    def write(self, path: Path) -> None:
        """Put it together."""
        members = dict(self.extra)
        for run, record in self.records.items():
            answers = self.answers[run]
            if run not in self.stale and isinstance(record.get("predictions"), dict):
                record["predictions"]["sha256"] = hashlib.sha256(answers).hexdigest()
            data = json.dumps(record).encode()
            members |= {f"runs/{run}.json": data, f"runs/{run}.parquet": answers}
            if run not in self.stale and run in self.manifest["runs"]:
                sums = {"record": hashlib.sha256(data).hexdigest(), "answers": hashlib.sha256(answers).hexdigest()}
                self.manifest["runs"][run] = sums
        members = {"pack.json": json.dumps(self.manifest).encode(), **members}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)


def top_of(data: bytes) -> TopK:
    """Answers of a member, read with nothing of the harness's reader."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    columns = [np.array(table[name].to_pylist()) for name in ("candidates", "scores")]
    return TopK(columns[0].astype(np.int32), columns[1].astype(np.float32))


Change = Callable[[Open, str, np.random.Generator], object]


def _metric(name: str) -> Change:
    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        pack.records[run]["metrics"]["accuracy"][name]["value"] = float(rng.uniform(0.9, 1))

    return change


def _end(pack: Open, run: str, rng: np.random.Generator) -> None:
    told = pack.records[run]["metrics"]["accuracy"]["SSA-1"]
    told["ci95"] = [told["ci95"][0] + float(rng.uniform(1e-4, 1e-2)), told["ci95"][1]]


def _of(*keys: str, value: Any) -> Change:
    """Set a value of the record."""

    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        at: Any = pack.records[run]
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value(at[keys[-1]], rng) if callable(value) else value

    return change


def _setting(pack: Open, run: str, rng: np.random.Generator) -> None:
    pack.records[run]["method"]["config"]["sharpness"] = float(rng.uniform())


def _as_preset(pack: Open, run: str, rng: np.random.Generator) -> None:
    pack.records[run]["method"].update(changed=["epochs"], preset="paper")


def _as(name: str) -> Change:
    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        pack.records[run]["method"].update(name=name, title=name.title())

    return change


def _answers(change: Callable[[TopK, np.random.Generator], TopK]) -> Change:
    def made(pack: Open, run: str, rng: np.random.Generator) -> None:
        pack.answers[run] = packed_answers(change(top_of(pack.answers[run]), rng))

    return made


def _shuffled(top: TopK, rng: np.random.Generator) -> TopK:
    order = np.roll(np.arange(len(top)), int(rng.integers(1, len(top) - 1)))
    return TopK(top.indices[order], top.scores[order])


def _swapped(top: TopK, rng: np.random.Generator) -> TopK:
    indices = top.indices.copy()
    rows = rng.choice(len(top), len(top) // 2, replace=False)
    indices[rows] = indices[rows][:, ::-1]
    return TopK(indices, top.scores)


def _reached(top: TopK, rng: np.random.Generator) -> TopK:
    indices = top.indices.copy()
    indices[rng.integers(len(top)), 0] = 10_000
    return TopK(indices, top.scores)


def _twice(top: TopK, rng: np.random.Generator) -> TopK:
    indices = top.indices.copy()
    row = rng.integers(len(top))
    indices[row, 1] = indices[row, 0]
    return TopK(indices, top.scores)


def _risen(top: TopK, rng: np.random.Generator) -> TopK:
    scores = top.scores.copy()
    scores[rng.integers(len(top)), -1] = scores.max() + 1
    return TopK(top.indices, scores)


def _nan(top: TopK, rng: np.random.Generator) -> TopK:
    scores = top.scores.copy()
    scores[rng.integers(len(top)), 0] = np.nan
    return TopK(top.indices, scores)


def _fewer(top: TopK, rng: np.random.Generator) -> TopK:
    kept = len(top) - int(rng.integers(1, 4))
    return TopK(top.indices[:kept], top.scores[:kept])


def _more(top: TopK, rng: np.random.Generator) -> TopK:
    again = np.concatenate([np.arange(len(top)), rng.integers(0, len(top), 3)])
    return TopK(top.indices[again], top.scores[again])


def _narrow(top: TopK, rng: np.random.Generator) -> TopK:
    return TopK(top.indices[:, :2], top.scores[:, :2])


def _stale_record(pack: Open, run: str, rng: np.random.Generator) -> None:
    pack.stale.add(run)
    pack.records[run]["size"]["storage_bytes"] = int(rng.integers(1, 1000))


def _stale_answers(pack: Open, run: str, rng: np.random.Generator) -> None:
    pack.stale.add(run)
    pack.answers[run] = packed_answers(_shuffled(top_of(pack.answers[run]), rng))


def _noise(pack: Open, run: str, rng: np.random.Generator) -> None:
    pack.answers[run] = rng.bytes(200)


def _as_if(keys: Mapping[str, Any]) -> Change:
    """Change what the record says of its method, and bring the run's id along."""

    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        record = pack.records[run]
        record["method"].update(keys)
        method, about = record["method"], record["dataset"]
        spec = RunSpec(
            method["name"], method["version"], method["config"], method["weights_digest"], about["digest"],
            about["candidate_digest"], about["limit"], record["seed"], record["k"], record["dtype"],
            streets_digest=about["streets_digest"], source_digest=method["source_digest"],
            contents_digest=about["contents_digest"],
        )  # fmt: skip
        record["run_id"] = spec.run_id
        every: tuple[dict[str, Any], ...] = (pack.records, pack.answers, pack.manifest["runs"])
        for of in every:
            of[spec.run_id] = of.pop(run)

    return change


def _renamed(pack: Open, run: str, rng: np.random.Generator) -> None:
    new = rng.bytes(8).hex()
    every: tuple[dict[str, Any], ...] = (pack.records, pack.answers, pack.manifest["runs"])
    for of in every:
        of[new] = of.pop(run)
    pack.records[new]["run_id"] = new


def _told(key: str, value: Any) -> Change:
    """Set a value of the manifest."""

    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        pack.manifest[key] = value(rng) if callable(value) else value

    return change


def _member(name: Callable[[np.random.Generator], str]) -> Change:
    def change(pack: Open, run: str, rng: np.random.Generator) -> None:
        pack.extra[name(rng)] = b"hello"

    return change


def _lost(pack: Open, run: str, rng: np.random.Generator) -> None:
    del pack.records[run], pack.answers[run]


def _hex(_: Any, rng: np.random.Generator) -> str:
    return rng.bytes(32).hex()


def _other(rng: np.random.Generator) -> str:
    return rng.bytes(32).hex()


CHANGES: Mapping[str, Change] = {
    "SSA-1": _metric("SSA-1"),
    "MRR": _metric("MRR"),
    "macro": _metric("macro-SSA-1"),
    "interval": _end,
    "median": _of("metrics", "distance_m", "median", value=lambda v, rng: v * float(rng.uniform(0.1, 0.9)) + 1e-3),
    "within": _of(
        "metrics", "distance_m", "within_25", "value", value=lambda v, rng: v + float(rng.uniform(0.01, 0.2))
    ),
    "no metrics": _of("metrics", value=None),
    "seed": _of("seed", value=lambda v, rng: v + int(rng.integers(1, 100))),
    "k": _of("k", value=lambda v, rng: v + int(rng.integers(1, 5))),
    "limit": _of("dataset", "limit", value=lambda _, rng: int(rng.integers(1, 100))),
    "dataset name": _of("dataset", "name", value="another-city"),
    "dataset digest": _of("dataset", "digest", value=_hex),
    "candidates": _of("dataset", "candidate_digest", value=_hex),
    "contents": _of("dataset", "contents_digest", value=_hex),
    "queries": _of("dataset", "n_queries", value=lambda v, rng: v + int(rng.integers(1, 50))),
    "train photos": _of("dataset", "n_train", value=lambda v, rng: v - int(rng.integers(1, 5))),
    "places": _of("dataset", "n_places", value=lambda v, rng: v + int(rng.integers(1, 50))),
    "method": _as("retrieval"),
    "method of one's own": _as("my-method"),
    "another built-in method": _as_if({"name": "fusion", "title": "Fusion"}),
    "method as a path": _as_if({"name": "../../mine", "origin": "mine", "source_digest": "0" * 64}),
    "method as a long path": _as_if({"name": "/mine", "origin": "mine", "source_digest": "0" * 64}),
    "method without a source": _as_if({"name": "mine", "origin": "mine"}),
    "title": _of("method", "title", value="AddressCLIP"),
    "version": _of("method", "version", value=lambda _, rng: str(rng.integers(50, 99))),
    "family": _of("method", "family", value="clip"),
    "oracle": _of("method", "oracle", value=lambda v, _: not v),
    "final fit": _of("method", "final_fit", value="none of these"),
    "setting": _setting,
    "preset": _as_preset,
    "source": _of("method", "source_digest", value=_hex),
    "status": _of("status", value="failed"),
    "protocol": _of("protocol_version", value=lambda _, rng: int(rng.integers(7, 99))),
    "schema": _of("schema_version", value=lambda _, rng: int(rng.integers(7, 99))),
    "hardware": _of("provenance", "hardware", value={"cpu": "a faster one", "cores": 64}),
    "times": _of("provenance", "finished", value="2001-01-01T00:00:00+00:00"),
    "size": _of("size", "storage_bytes", value=-1),
    "unknown key": _of("method", "comment", value="the best"),
    "facts": _of("method", "facts", value=[1, 2]),
    "run id": _renamed,
    "another run's id": _of("run_id", value=lambda _, rng: rng.bytes(8).hex()),
    "other order": _answers(_shuffled),
    "other candidates": _answers(_swapped),
    "candidate out of range": _answers(_reached),
    "candidate twice": _answers(_twice),
    "rising scores": _answers(_risen),
    "scores not finite": _answers(_nan),
    "fewer answers": _answers(_fewer),
    "more answers": _answers(_more),
    "shorter lists": _answers(_narrow),
    "answers of noise": _noise,
    "checksum of the record": _stale_record,
    "checksum of the answers": _stale_answers,
    "manifest's dataset": _told("dataset_digest", _other),
    "manifest's candidates": _told("candidate_digest", _other),
    "manifest's ground truth": _told("ground_truth", _other),
    "manifest's version": _told("version", lambda rng: int(rng.integers(2, 9))),
    "manifest's form": _told("note", "trust me"),
    "manifest's contact": _told("contact", "me\x1b[2J"),
    "member beside": _member(lambda rng: f"runs/{rng.bytes(8).hex()}.json"),
    "member above": _member(lambda rng: f"../{rng.bytes(4).hex()}.json"),
    "member at the root": _member(lambda rng: f"/{rng.bytes(4).hex()}.json"),
    "lost members": _lost,
}


def tamper(pack: Path, kind: str, seed: int, out: Path) -> None:
    """Write a pack with one change of a kind."""
    rng = np.random.default_rng([seed, *kind.encode()])
    taken = Open.of(pack)
    # The answers of `majority` are the same in any order.
    fit = [r for r, told in taken.records.items() if kind != "other order" or told["method"]["name"] != "majority"]
    runs = sorted(fit)
    CHANGES[kind](taken, runs[int(rng.integers(len(runs)))], rng)
    taken.write(out)
