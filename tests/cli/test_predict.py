"""`bench predict`: answers of finished runs to photos of one's own."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.answering import softmax
from ial_bench.engine.predictions import read_predictions
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from ial_methods.clip.linear_probe import LinearProbe
from support.bench_command import Bench, Said
from support.warm_bench import Server

METHODS = ("addressclip", "linear-probe", "majority")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def done(homes: Path, tiny_city: Dataset, warm_bench: Server) -> Path:
    """Results and cache of finished runs; tests change copies."""
    warm_bench.start(
        "run", "-d", tiny_city.folder, "-m", ",".join(METHODS),
        "--backbone", CHECK_BACKBONE, "--set", "linear-probe.c=1", "--set", "addressclip.epochs=1", "--no-timing",
        "--workers", "0", "--seeds", "0,3", "--results", homes / "results", "--cache", homes / "cache",
    ).finish()  # fmt: skip
    return homes


@pytest.fixture
def predict(bench: Bench, done: Path, tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("IAL_BENCH_RESULTS", str(done / "results"))
    monkeypatch.setenv("IAL_BENCH_CACHE", str(done / "cache"))

    def call(method: str, *arguments: str) -> Said:
        return bench("predict", "-m", method, "-d", str(tiny_city.folder), *arguments)

    return call


def records(home: Path, method: str) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted((home / "results").glob(f"*/{method}/*.json"))]


def fix_of(said: Said) -> list[str]:
    """The command that an error tells, without `bench`."""
    (line,) = [line for line in said.err.splitlines() if line.startswith("  fix: ")]
    return shlex.split(line.split("`")[1])[1:]


@pytest.mark.parametrize("method", METHODS)
def test_a_query_photo_is_answered_as_in_the_run(predict: Bench, done: Path, tiny_city: Dataset, method: str) -> None:
    record = next(r for r in records(done, method) if r["seed"] == 0)
    ids, stored = read_predictions(next((done / "results").glob(f"*/{method}/{record['run_id']}*.parquet")))
    queries, rows = tiny_city.split("query"), [0, 7, 20]
    said = predict(method, "--seed", "0", "--json", *(str(queries.path(i)) for i in rows))
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert (told["run_id"], told["dataset"]) == (record["run_id"], "tiny-city")
    for row, photo in zip(rows, told["photos"], strict=True):
        assert queries.ids == ids
        expected = [tiny_city.candidates.texts[i] for i in stored.indices[row][:5]]
        assert [a["address"] for a in photo["answers"]] == expected
        assert [a["score"] for a in photo["answers"]] == pytest.approx(stored.scores[row][:5].tolist(), rel=1e-4)
        probabilities = [a["probability"] for a in photo["answers"]]
        if method == "majority":
            assert probabilities == [None] * 5
        else:
            powers = np.exp(stored.scores[row].astype(np.float64))  # all six candidates are stored
            assert probabilities == pytest.approx((powers / powers.sum())[:5].tolist(), rel=1e-3)


def test_a_photo_that_cannot_be_read_does_not_stop_the_others(
    predict: Bench, tiny_city: Dataset, tmp_path: Path
) -> None:
    good, broken, absent = tiny_city.split("query").path(0), tmp_path / "broken.jpg", tmp_path / "absent.jpg"
    broken.write_bytes(good.read_bytes()[:200])
    said = predict("majority", "--top", "2", str(broken), str(good), str(absent), str(tmp_path))
    assert said.code == 1
    assert [line.split("\t")[:2] for line in said.out.splitlines()[1:]] == [[str(good), "1"], [str(good), "2"]]
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [str(p) in e for p, e in zip((broken, absent, tmp_path), errors, strict=True)] == [True] * 3
    assert "Traceback" not in said.err
    told = json.loads(predict("majority", "--json", str(broken), str(good)).out)
    assert [bool(p["error"]) for p in told["photos"]] == [True, False]
    assert predict("linear-probe", str(absent)).code == 1


def test_photos_of_any_size_and_format(predict: Bench, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 160, 4), dtype=np.uint8)
    files = [tmp_path / n for n in ("a.png", "b.webp", "c.tif", "d.bmp", "e.jpg")]
    for file, mode in zip(files, ("RGBA", "RGB", "L", "RGB", "CMYK"), strict=True):
        Image.fromarray(pixels).convert("RGB").convert(mode).resize((160, 90 if mode == "L" else 33)).save(file)
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    for method in ("linear-probe", "addressclip"):
        said = predict(method, "--top", "1", *(str(f) for f in (*files, tmp_path / "one.png")))
        assert said.code == 0, said.err
        lines = [line.split("\t") for line in said.out.splitlines()]
        assert lines[0] == ["photo", "rank", "address", "probability %"]
        assert len(lines) == 1 + 6
        assert all(0 < float(line[3]) <= 100 for line in lines[1:])


def test_runs_are_chosen_by_seed_settings_and_id(predict: Bench, done: Path, tiny_city: Dataset) -> None:
    photo = str(tiny_city.split("query").path(0))
    by_seed = {r["seed"]: r["run_id"] for r in records(done, "addressclip")}
    assert set(by_seed) == {0, 3}
    for seed, run_id in by_seed.items():
        assert f"run {run_id} (seed {seed}" in predict("addressclip", "--seed", str(seed), photo).err
        assert f"run {run_id} (seed {seed}" in predict("addressclip", "--run", run_id, photo).err
    latest = max(records(done, "addressclip"), key=lambda r: str(r["provenance"]["finished"]))
    assert f"run {latest['run_id']}" in predict("addressclip", "--set", "epochs=1", photo).err
    assert predict("linear-probe", "--seed", "9", photo).code == 0  # it has no randomness: any seed is its own
    other = predict("addressclip", "--set", "epochs=2", "--seed", "3", photo)
    assert other.code == 1
    assert "with this seed, these settings" in other.err
    words = ["run", "--methods", "addressclip", "--dataset", str(tiny_city.folder), "--seeds", "3", "--set", "epochs=2"]
    assert fix_of(other) == words
    paper = predict("addressclip", "--preset", "paper", photo)
    assert fix_of(paper)[-2:] == ["--preset", "paper"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-m", "majorty", "-d", "CITY"], 2, "did you mean 'majority'"),
        (["-m", "majority", "-d", "tiny-cty"], 2, "unknown dataset"),
        (["-m", "gps-oracle", "-d", "CITY"], 2, "nobody knows"),
        (["-m", "linear-probe", "-d", "CITY", "--set", "cc=1"], 2, "unknown setting of linear-probe 'cc'"),
        (["-m", "majority", "-d", "CITY", "--run", "0123"], 2, "unknown run of majority on tiny-city '0123'"),
        (["-m", "retrieval", "-d", "CITY"], 1, "there is no finished run of retrieval on tiny-city"),
    ],
)
def test_errors_name_what_is_wrong_and_the_mend(
    predict: Bench, bench: Bench, tiny_city: Dataset, arguments: list[str], code: int, words: str
) -> None:
    del predict  # its folders
    said = bench("predict", *(a.replace("CITY", str(tiny_city.folder)) for a in arguments), "photo.jpg")
    assert (said.code, words in said.err, "fix: " in said.err) == (code, True, True), said.err
    assert said.out == ""


def test_a_lost_model_is_made_anew_by_the_command_that_is_told(
    predict: Bench, bench: Bench, done: Path, tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(done / "results", tmp_path / "results")
    monkeypatch.setenv("IAL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("IAL_BENCH_CACHE", str(tmp_path / "cache"))
    photo = str(tiny_city.split("query").path(0))
    said = predict("linear-probe", photo)
    assert said.code == 1
    assert "is not in the cache" in said.err
    command = fix_of(said)
    assert command[-1] == "--rerun"
    (record,) = records(done, "linear-probe")
    ran = bench(*command, "--json", "--no-timing")
    assert [r["run_id"] for r in json.loads(ran.out)] == [record["run_id"]]
    assert predict("linear-probe", photo).code == 0


def test_a_model_that_was_not_moved_before_a_kill_is_found(
    predict: Bench, done: Path, tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = records(done, "majority")
    state = tmp_path / "cache" / "runs" / record["run_id"] / "state"
    shutil.copytree(done / "cache" / "models" / record["run_id"], state)
    monkeypatch.setenv("IAL_BENCH_CACHE", str(tmp_path / "cache"))
    assert predict("majority", str(tiny_city.split("query").path(0))).code == 0


def test_a_damaged_model_is_an_error_that_names_it(
    predict: Bench, done: Path, tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = records(done, "majority")
    folder = tmp_path / "cache" / "models" / record["run_id"]
    shutil.copytree(done / "cache" / "models" / record["run_id"], folder)
    (folder / "state.safetensors").write_bytes(b"torn")
    monkeypatch.setenv("IAL_BENCH_CACHE", str(tmp_path / "cache"))
    said = predict("majority", str(tiny_city.split("query").path(0)))
    assert (said.code, str(folder) in said.err, "fix: " in said.err) == (1, True, True)


def test_runs_of_another_version_of_the_dataset(bench: Bench, tmp_path: Path) -> None:
    """Other photos of the same addresses are said; other addresses are refused."""
    city = make_tiny_city(tmp_path / "city", views=1)
    common = ("-d", str(city.folder), "-m", "majority")
    assert bench("run", *common, "--no-timing").code == 0
    photo = tmp_path / "photo.png"
    shutil.copy(city.split("query").path(0), photo)
    make_tiny_city(tmp_path / "city", views=1, seed=1)
    said = bench("predict", *common, str(photo))
    assert said.code == 0
    assert "made on another version of tiny-city, with the same addresses" in said.err
    make_tiny_city(tmp_path / "city", views=1, n_addresses=4)
    said = bench("predict", *common, str(photo))
    assert said.code == 1
    assert "the dataset had other addresses" in said.err
    assert fix_of(said) == ["run", "--methods", "majority", "--dataset", str(city.folder)]


def test_limited_runs_answer_only_where_there_is_no_whole_one(bench: Bench, tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", views=1)
    common = ("-d", str(city.folder), "-m", "majority")
    photo = str(city.split("query").path(0))
    assert bench("run", *common, "--no-timing", "--limit", "6").code == 0
    assert "limited to 6 photos a split" in bench("predict", *common, photo).err
    assert bench("run", *common, "--no-timing").code == 0
    assert "limited" not in bench("predict", *common, photo).err


def test_a_run_of_another_version_of_the_method_is_not_taken(
    predict: Bench, tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(LinearProbe, "info", replace(LinearProbe.info, version="next"))
    said = predict("linear-probe", str(tiny_city.split("query").path(0)))
    assert (said.code, "this version of the method" in said.err) == (1, True)


def test_doctor_counts_the_fitted_methods(bench: Bench, predict: Bench) -> None:
    del predict  # its folders
    told = json.loads(bench("doctor", "--json").out)
    assert told["fitted methods"].startswith("4 in the cache, ")
    assert told["shared parts"].startswith("2 in the cache, ")


def test_softmax_of_large_scores_and_of_no_photos() -> None:
    scores = np.array([[1000.0, 999.0, -1000.0]], np.float32)
    assert softmax(scores)[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0.0])
    assert softmax(np.zeros((0, 3), np.float32)).shape == (0, 3)
