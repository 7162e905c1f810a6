"""What a user sees of encoders' identities: done is done, and what changed is run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.identity import RunSpec
from support.bench_command import Bench, Said
from support.made_contents import without_contents
from support.published_models import SMALL, weights_of


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("results", "cache"):
        monkeypatch.setenv(f"IAL_BENCH_{name.upper()}", str(tmp_path / name))
    return tmp_path


def records(homes: Path, method: str = "retrieval") -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted((homes / "results").glob(f"*/{method}/*.json"))]


def run(bench: Bench, city: Dataset, backbone: str, *more: str, method: str = "retrieval") -> Said:
    said = bench(
        "run", "-d", city.folder, "-m", method, "--backbone", backbone, "--no-timing", "--workers", "0", *more
    )  # fmt: skip
    assert said.code == 0, said.err
    return said


def own_model(homes: Path, **changes: Any) -> str:
    config = homes / "mine.json"
    config.write_text(json.dumps({**SMALL, **changes}))
    weights = homes / "w.safetensors"
    if not weights.is_file():
        weights_of(SMALL, weights)
    return f"openclip:{config}/{weights}"


def test_one_encoder_under_two_paths_is_one_run(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    backbone = own_model(homes)
    run(bench, tiny_city, backbone)
    moved = homes / "elsewhere"
    moved.mkdir()
    shutil.copy(homes / "mine.json", moved / "yours.json")
    shutil.copy(homes / "w.safetensors", moved / "moved.safetensors")
    again = run(bench, tiny_city, f"openclip:{moved}/yours.json/{moved}/moved.safetensors")
    assert "1 done already" in again.err
    (record,) = records(homes)
    assert record["method"]["backbone"] == record["method"]["config"]["backbone"] == "openclip:mine.json/w.safetensors"
    assert str(homes) not in json.dumps(record)
    assert again.out.count("Retrieval (kNN vote)") == 1


def test_an_edited_configuration_runs_again(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    run(bench, tiny_city, own_model(homes))
    said = run(bench, tiny_city, own_model(homes, quick_gelu=True))
    assert "1 done" in said.err
    first, second = records(homes)
    assert first["run_id"] != second["run_id"]
    assert first["method"]["encoder"]["weights"] == second["method"]["encoder"]["weights"]
    assert said.out.count("Retrieval (kNN vote) (network ") == 2  # two rows, told apart


def test_predict_finds_the_encoder_again(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    """The record has base names alone; the cache knows the path, and a moved file is known by its content."""
    run(bench, tiny_city, own_model(homes))
    photo = tiny_city.split("query").path(0)
    common = ("predict", "-m", "retrieval", "-d", tiny_city.folder, photo)
    first = bench(*common)
    assert first.code == 0, first.err
    moved = (homes / "w.safetensors").rename(homes / "moved.safetensors")
    lost = bench(*common)
    assert lost.code == 1
    assert "the files of openclip:mine.json/w.safetensors" in lost.err
    assert "--backbone, with their paths" in lost.err
    found = bench(*common, "--backbone", f"openclip:{homes}/mine.json/{moved}")
    assert found.code == 0, found.err
    assert found.out == first.out
    weights_of(SMALL, moved, seed=8)
    other = bench(*common, "--backbone", f"openclip:{homes}/mine.json/{moved}")
    assert other.code != 0


# --- records of schema version 1 --------------------------------------------------------------------------------

CHECK = "openclip:tiny-check/random-init"


@pytest.fixture
def old_city(tiny_city: Dataset, tmp_path: Path) -> Dataset:
    """Of that time."""
    return without_contents(tiny_city, tmp_path / "old-city")


def as_version_1(homes: Path) -> str:
    """Turn the only record into what schema version 1 had; its id."""
    (path,) = (homes / "results").glob("*/retrieval/*.json")
    record = json.loads(path.read_text())
    method, data = record["method"], record["dataset"]
    spec = RunSpec(
        method["name"], method["version"], method["config"], method["weights_digest"], data["digest"],
        data["candidate_digest"], None, record["seed"], record["k"],
    )  # fmt: skip
    for key in ("encoder", "source_digest", "scores"):
        del method[key]
    record |= {"schema_version": 1, "run_id": spec.first_id}
    record["predictions"]["path"] = f"{spec.first_id}.predictions.parquet"
    path.with_name(f"{spec.first_id}.json").write_text(json.dumps(record))
    path.with_suffix(".predictions.parquet").rename(path.with_name(record["predictions"]["path"]))
    path.unlink()
    return spec.first_id


def test_an_earlier_record_of_the_same_encoder_stays_done(bench: Bench, homes: Path, old_city: Dataset) -> None:
    run(bench, old_city, CHECK)
    (now,) = records(homes)
    earlier = as_version_1(homes)
    assert earlier != now["run_id"]
    said = run(bench, old_city, CHECK)
    assert "1 done already" in said.err
    (record,) = records(homes)
    assert record["run_id"] == earlier  # run ids stay
    assert record["method"]["weights_digest"] == now["method"]["weights_digest"]
    assert record["method"]["encoder"] == now["method"]["encoder"]  # beside the old digest
    run(bench, old_city, CHECK, "--rerun")
    assert [r["run_id"] for r in records(homes)] == [earlier]


def test_an_earlier_record_by_other_libraries_is_run_again(bench: Bench, homes: Path, old_city: Dataset) -> None:
    run(bench, old_city, CHECK)
    earlier = as_version_1(homes)
    (path,) = (homes / "results").glob("*/retrieval/*.json")
    path.write_text(path.read_text().replace('"open_clip_torch": "', '"open_clip_torch": "0.'))
    said = run(bench, old_city, CHECK)
    assert "1 done" in said.err
    assert "done already" not in said.err
    assert {r["run_id"] for r in records(homes)} > {earlier}


def test_an_earlier_record_of_a_file_is_run_again(bench: Bench, homes: Path, old_city: Dataset) -> None:
    """Its number could be another network's."""
    backbone = own_model(homes)
    run(bench, old_city, backbone)
    as_version_1(homes)
    said = run(bench, old_city, backbone)
    assert "done already" not in said.err
    assert len(records(homes)) == 2


# --- precision --------------------------------------------------------------------------------------------------


def test_a_lower_precision_is_another_run_and_its_cost_is_told(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    alone = run(bench, tiny_city, CHECK, "--precision", "bf16")
    assert "photos encoded in bfloat16; what that changes is not known, for there is no run in float32" in alone.out
    both = run(bench, tiny_city, CHECK)
    assert "Retrieval (kNN vote): photos encoded in bfloat16; SSA-1 " in both.out
    assert "points against float32" in both.out
    assert {r["dtype"] for r in records(homes)} == {"float32", "bfloat16"}
    assert len(list((homes / "cache").glob("features/*/*/features.f32"))) == 2 * 3  # train, val, query
    assert bench("predict", "-m", "retrieval", "-d", tiny_city.folder, tiny_city.split("query").path(0)).code == 0


def test_precision_is_of_cached_features_alone(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    short = ("--set", "clip-address.epochs=1")
    run(bench, tiny_city, CHECK, *short, method="clip-address")
    again = bench(
        "run", "-d", tiny_city.folder, "-m", "clip-address", "--backbone", CHECK, *short, "--precision", "fp16",
        "--dry-run",
    )  # fmt: skip
    assert "\tdone\t" in again.out
    assert bench("run", "-d", tiny_city.folder, "--precision", "fp8").code == 2


def test_what_was_assumed_stands_below_the_table(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    said = run(bench, tiny_city, own_model(homes))
    told = "w.safetensors does not tell how photos are prepared for it: preprocessing CLIP's is assumed, and GELU"
    assert f"note: {told}" in said.err
    assert told in said.out
    assert told in records(homes)[0]["method"]["encoder"]["notes"][0]


def test_a_failure_names_files_without_their_folders(bench: Bench, homes: Path, tiny_city: Dataset) -> None:
    backbone = own_model(homes)
    (homes / "w.safetensors").write_bytes(b"no weights")
    said = bench("run", "-d", tiny_city.folder, "-m", "retrieval", "--backbone", backbone, "--no-timing")
    assert said.code != 0
    assert str(homes / "w.safetensors") in said.err  # the user is told which
    for record in records(homes):
        assert str(homes) not in (record["reason"] or "")


def test_an_encoder_is_shown(bench: Bench, homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = bench("show", own_model(homes), "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert (told["dimension"], told["sigmoid scores"], told["precision"]) == (16, False, "float32")
    assert told["texts"] == {"tokenizer": "clip", "context_length": 16}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = bench("show", "openclip:ViT-B-16/openai")
    assert missing.code == 1
    assert "write openclip:ViT-B-16/FILE@openai" in missing.err
