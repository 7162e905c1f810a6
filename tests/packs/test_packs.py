"""Packs: what is honest holds, what was changed is named, what is merged is what was run."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import take_contents
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import read_record, records, write_record
from ial_bench.engine.run import Engine
from ial_bench.errors import DataError
from ial_bench.packs.pack import Pack, make_pack
from ial_bench.packs.verify import Verifier, merge_run
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from support.made_contents import replace_photo, without_contents
from support.made_records import run_baselines
from support.tampered_packs import CHANGES, Open, tamper

TIMES = 4
"""How often each change is made: of 57 kinds, more than 200 packs."""


@pytest.fixture(scope="module")
def verifier(tiny_city: Dataset) -> Verifier:
    return Verifier(tiny_city, None)


def problems_of(path: Path, verifier: Verifier) -> list[str]:
    """Everything that is said of a pack."""
    try:
        pack = Pack.open(path)
    except DataError as error:
        return [error.problem]
    if about := verifier.about(pack.manifest):
        return about
    return [line for run in sorted(pack.manifest.runs) for line in verifier.run(pack, run).problems]


def test_what_was_run_holds(pack: Path, verifier: Verifier, packed_results: Path) -> None:
    assert problems_of(pack, verifier) == []
    assert len(Pack.open(pack).manifest.runs) == len(list(records(packed_results)))


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_is_named(kind: str, pack: Path, verifier: Verifier, tmp_path: Path) -> None:
    for seed in range(TIMES):
        tamper(pack, kind, seed, tmp_path / "tampered.ialpack")
        found = problems_of(tmp_path / "tampered.ialpack", verifier)
        assert found, f"{kind}, seed {seed}: nothing was found"
        assert all(line.isprintable() for line in found)


def test_taken_apart_and_put_together_it_still_holds(pack: Path, verifier: Verifier, tmp_path: Path) -> None:
    """That every change is named is not for how the changed packs are written."""
    Open.of(pack).write(tmp_path / "again.ialpack")
    assert problems_of(tmp_path / "again.ialpack", verifier) == []


@pytest.mark.parametrize("limit", [None, 3, 4, 5, 6, 7, 8, 9, 10, 12])
def test_no_honest_pack_is_refused(limit: int | None, tiny_city: Dataset, tmp_path: Path) -> None:
    """Fifty packs, of ten limits and any k."""
    for k in (1, 2, 3, 6, 10):
        run_baselines(tiny_city, tmp_path / str(k), ["random", "majority"], seeds=(k, k + 1), k=k, limit=limit)
        made, _ = make_pack(tmp_path / str(k) / "results", tiny_city.name, [], tmp_path / f"{k}.ialpack", limit=limit)
        assert problems_of(made.path, Verifier(tiny_city, limit)) == []


def test_runs_with_encoders_and_settings_hold(tiny_city: Dataset, tmp_path: Path) -> None:
    """Their ids are those of an encoder by its parts; one with a preset's settings is called by it."""
    options = EngineOptions(tmp_path / "results", tmp_path / "cache", batch_size=8, timing=False)
    store = FeatureStore(options.cache, "cpu", 8, 0, NoReport())
    registry = Registry()
    choices = [
        ConfiguredMethod(
            cls := registry.get(name), config_from_text(cls, {"backbone": CHECK_BACKBONE, **own}), "ial-bench"
        )
        for name, own in (("linear-probe", {"c": "1.0"}), ("two-stage", {}))
    ]
    engine = Engine(tiny_city, options, store, NoReport())
    made = [engine.execute(p) for p in plan(tiny_city, choices, (0,), options, store, NoReport())]
    assert [r.status for r in made] == ["done"] * 2
    pack, _ = make_pack(options.results, tiny_city.name, [], tmp_path / "a.ialpack")
    assert problems_of(pack.path, Verifier(tiny_city, None)) == []
    encoded = [r for r in made if r.method.encoder is not None]
    assert encoded
    for part, value in (("structure", "0" * 64), ("precision", "bf16"), ("digest", "0" * 64)):
        taken = Open.of(pack.path)
        taken.records[encoded[0].run_id]["method"]["encoder"][part] = value
        taken.write(tmp_path / "b.ialpack")
        assert any("encoder" in line for line in problems_of(tmp_path / "b.ialpack", Verifier(tiny_city, None)))


def test_it_holds_no_names_of_photos_no_positions_and_no_paths(pack: Path, tiny_city: Dataset, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        assert {n.rpartition(".")[2] for n in archive.namelist()} == {"json", "parquet"}
    for secret in (*tiny_city.split("query").ids, str(tiny_city.folder), str(tmp_path)):
        assert secret.encode() not in everything
    for run in Pack.open(pack).manifest.runs:
        assert Pack.open(pack).answers(run, len(tiny_city.split("query"))).positions is None


def test_the_same_results_give_the_same_bytes(
    packed_results: Path, pack: Path, tiny_city: Dataset, tmp_path: Path
) -> None:
    make_pack(packed_results, tiny_city.name, [], tmp_path / "again.ialpack")
    assert (tmp_path / "again.ialpack").read_bytes() == pack.read_bytes()


def test_other_contents_of_photos_are_named_where_both_are_known(
    pack: Path, tiny_city: Dataset, tmp_path: Path
) -> None:
    """A record and a dataset may each lack them; then nothing is held against the run."""
    old = without_contents(tiny_city, tmp_path / "old")
    run_baselines(old, tmp_path / "of-old", ["majority"])
    theirs = make_pack(tmp_path / "of-old" / "results", old.name, [], tmp_path / "old.ialpack")[0].path
    for path, data in ((pack, old), (theirs, tiny_city), (theirs, old)):
        assert problems_of(path, Verifier(data, None)) == []
    changed = Dataset(Path(shutil.copytree(tiny_city.folder, tmp_path / "changed")))
    replace_photo(changed.split("train"), 0)
    take_contents(changed, overwrite=True)
    found = problems_of(pack, Verifier(Dataset(changed.folder), None))
    assert len(found) == len(Pack.open(pack).manifest.runs)
    assert all(line.startswith("the digest of the photos' contents is ") for line in found)


def test_another_dataset_is_another_ground_truth(pack: Path, tmp_path: Path) -> None:
    other = Verifier(make_tiny_city(tmp_path / "other", n_addresses=5), None)
    assert any("ground truth" in line for line in problems_of(pack, other))


def test_a_merged_run_is_the_run(pack: Path, verifier: Verifier, packed_results: Path, tmp_path: Path) -> None:
    opened = Pack.open(pack)
    for run in opened.manifest.runs:
        assert merge_run(opened, verifier.run(opened, run), verifier, tmp_path).fate == "merged"
        assert merge_run(opened, verifier.run(opened, run), verifier, tmp_path).fate == "already there"
    own = {r.run_id: (p, r) for p, r in records(packed_results) if isinstance(r, RunRecord)}
    taken = {r.run_id: (p, r) for p, r in records(tmp_path) if isinstance(r, RunRecord)}
    assert own.keys() == taken.keys()
    for run, (path, record) in taken.items():
        assert record.received is not None
        assert record.received.pack == opened.sha256
        before = own[run][1]
        assert record.metrics == before.metrics
        assert record.method == before.method
        assert record.provenance == before.provenance
        (ids, top), (own_ids, own_top) = (
            read_predictions(p.with_suffix(".predictions.parquet")) for p in (path, own[run][0])
        )
        assert ids == own_ids
        np.testing.assert_array_equal(top.indices, own_top.indices)
        np.testing.assert_array_equal(top.scores, own_top.scores)


def test_a_dataset_of_another_name_is_merged_under_the_name_here(
    pack: Path, verifier: Verifier, tmp_path: Path, tiny_city: Dataset
) -> None:
    taken = Open.of(pack)
    taken.manifest["dataset"] = "../elsewhere"
    for record in taken.records.values():
        record["dataset"]["name"] = "../elsewhere"
    taken.write(tmp_path / "theirs.ialpack")
    opened = Pack.open(tmp_path / "theirs.ialpack")
    for run in opened.manifest.runs:
        assert merge_run(opened, verifier.run(opened, run), verifier, tmp_path / "results").fate == "merged"
    assert [p.name for p in (tmp_path / "results").iterdir()] == [tiny_city.name]
    assert {p.name for p in tmp_path.iterdir()} == {"results", "theirs.ialpack"}


def test_a_run_of_earlier_defaults_holds_and_is_called_as_here(pack: Path, verifier: Verifier, tmp_path: Path) -> None:
    """What was the default then and is no longer is a changed setting now: no reason to doubt a run."""
    taken = Open.of(pack)
    run = min(r for r, record in taken.records.items() if record["method"]["name"] == "gps-oracle")
    setting = min(taken.records[run]["method"]["config"])
    taken.records[run]["method"]["changed"] = [setting]
    taken.write(tmp_path / "then.ialpack")
    opened = Pack.open(tmp_path / "then.ialpack")
    assert merge_run(opened, verifier.run(opened, run), verifier, tmp_path / "results").fate == "merged"
    ((_, merged),) = records(tmp_path / "results")
    assert isinstance(merged, RunRecord)
    assert merged.method.changed == Pack.open(pack).record(run).method.changed != [setting]


def test_other_answers_under_the_same_id_are_refused(
    pack: Path, verifier: Verifier, packed_results: Path, tmp_path: Path, tiny_city: Dataset
) -> None:
    opened = Pack.open(pack)
    shutil.copytree(packed_results, tmp_path / "results")
    path = min((tmp_path / "results" / tiny_city.name / "random").glob("*.json"))
    file = path.with_suffix(".predictions.parquet")
    other = next(p for p in path.parent.glob("*.predictions.parquet") if p != file)
    shutil.copy(other, file)
    kept = path.read_bytes()
    merged = merge_run(opened, verifier.run(opened, path.stem), verifier, tmp_path / "results")
    assert merged.fate == "refused"
    assert "queries otherwise" in merged.why
    assert path.read_bytes() == kept


def test_a_failed_run_here_gives_way(pack: Path, verifier: Verifier, packed_results: Path, tmp_path: Path) -> None:
    opened = Pack.open(pack)
    shutil.copytree(packed_results, tmp_path / "results")
    path, record = next((p, r) for p, r in records(tmp_path / "results") if isinstance(r, RunRecord))
    write_record(path, record.model_copy(update={"status": "failed", "metrics": None}))
    assert merge_run(opened, verifier.run(opened, record.run_id), verifier, tmp_path / "results").fate == "merged"
    assert read_record(path).status == "done"


def test_a_record_of_an_earlier_protocol_is_scored_by_this_one(pack: Path, verifier: Verifier, tmp_path: Path) -> None:
    taken = Open.of(pack)
    run, record = min(taken.records.items())
    record.update(protocol_version=1, schema_version=2)
    del record["received"]
    del record["metrics"]["distance_m"]["median_ci95"]
    record["metrics"]["accuracy"]["SSA-1"]["ci95"] = [0.0, 1.0]
    taken.write(tmp_path / "old.ialpack")
    opened = Pack.open(tmp_path / "old.ialpack")
    assert merge_run(opened, verifier.run(opened, run), verifier, tmp_path / "results").fate == "merged"
    ((_, merged),) = records(tmp_path / "results")
    assert isinstance(merged, RunRecord)
    assert merged.metrics == Pack.open(pack).record(run).metrics
    assert merged.protocol_version == 2


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "gone", "folder"])
def test_what_is_no_pack_is_said(damage: str, pack: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ialpack"
    data = pack.read_bytes()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        made = {"cut": data[: len(data) // 2], "noise": np.random.default_rng(0).bytes(500), "empty": b""}
        path.write_bytes(made[damage])
    with pytest.raises(DataError, match=r"a\.ialpack"):
        Pack.open(path)


def test_a_link_or_a_folder_in_a_pack_is_refused(pack: Path, tmp_path: Path) -> None:
    """Nothing is ever unpacked; a member that is more than a file has no business in a pack."""
    taken = Open.of(pack)
    taken.write(tmp_path / "a.ialpack")
    with zipfile.ZipFile(tmp_path / "a.ialpack", "a") as archive:
        archive.writestr(zipfile.ZipInfo("runs/"), b"")
    with pytest.raises(DataError, match="folder"):
        Pack.open(tmp_path / "a.ialpack")


def test_a_member_larger_than_any_record_is_not_read(pack: Path, tmp_path: Path) -> None:
    taken = Open.of(pack)
    run = min(taken.records)
    taken.records[run]["reason"] = "a" * (9 << 20)
    taken.write(tmp_path / "a.ialpack")
    with pytest.raises(DataError, match="larger than"):
        Pack.open(tmp_path / "a.ialpack").record(run)
