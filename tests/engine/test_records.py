"""Run records: what is written is what is read, what the schema says, and nothing that is not JSON."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import SCHEMA_FILE, Interval, RunRecord, schema_text
from ial_bench.engine.records import (
    MIGRATIONS,
    MOST_BYTES,
    RECORD_VERSION,
    read_record,
    record_path,
    records,
    write_record,
)
from ial_bench.errors import DataError
from support.made_records import make_record, run_baselines


@pytest.fixture(scope="module")
def real(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return run_baselines(tiny_city, tmp_path_factory.mktemp("run"), ["random"])[0]


def write_anyhow(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def test_a_record_is_read_as_it_was_written(tmp_path: Path, real: RunRecord) -> None:
    full = make_record(
        "m", {"SSA-1": (0.25, (0.125, 0.5)), "MRR": 1 / 3}, title="Käthe's “method”\n", config={"a": [1, {"b": None}]},
        backbone="timm:resnet50", weights="ab", latency_ms=0.1, limit=3, storage_bytes=2**40,
    )  # fmt: skip
    skipped = make_record("m", status="skipped", reason="no weights")
    for record in [full, skipped, real]:
        path = tmp_path / f"{record.run_id}.json"
        write_record(path, record)
        assert read_record(path) == record


def test_a_record_is_plain_utf8_that_a_person_can_read(tmp_path: Path) -> None:
    write_record(tmp_path / "r.json", make_record(title="Käthe"))
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert '"title": "Käthe"' in text
    assert text.count("\n") > 50
    assert text.endswith("}\n")


def test_the_shipped_schema_is_the_one_of_the_classes() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def schema() -> Any:
    shipped = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(shipped)
    assert shipped["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    return jsonschema.Draft202012Validator(shipped)


def test_a_real_record_fits_the_schema(real: RunRecord) -> None:
    assert real.status == "done"
    schema().validate(real.model_dump(mode="json"))


def put(*keys: str, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


MUTATIONS = {
    "a key of another schema": put("notes", value="hello"),
    "a key of another schema inside": put("method", "notes", value="hello"),
    "no run id": lambda data: data.pop("run_id"),
    "no such status": put("status", value="finished"),
    "a text for a number": put("seed", value="zero"),
    "percent in words": put("metrics", "accuracy", "SSA-1", "value", value="12 %"),
    "half an interval": put("metrics", "accuracy", "SSA-1", "ci95", value=[0.1]),
    "an older schema": put("schema_version", value=0),
}


@pytest.mark.parametrize("change", MUTATIONS.values(), ids=MUTATIONS)
def test_schema_and_reader_refuse_the_same(real: RunRecord, change: Callable[[Any], None], tmp_path: Path) -> None:
    data = copy.deepcopy(real.model_dump(mode="json"))
    change(data)
    with pytest.raises(jsonschema.ValidationError):
        schema().validate(data)
    write_anyhow(tmp_path / "r.json", data)
    with pytest.raises(DataError, match=r"r\.json is not a run record"):
        read_record(tmp_path / "r.json")


def test_the_refusal_names_the_key(real: RunRecord, tmp_path: Path) -> None:
    data = real.model_dump(mode="json")
    data["metrics"]["accuracy"]["SSA-1"]["value"] = "much"
    write_anyhow(tmp_path / "r.json", data)
    with pytest.raises(DataError, match=r"metrics\.accuracy\.SSA-1\.value: "):
        read_record(tmp_path / "r.json")


def test_a_newer_schema_is_refused_by_its_number_whatever_else_it_holds(tmp_path: Path) -> None:
    newer = RECORD_VERSION + 1
    write_anyhow(tmp_path / "r.json", {"schema_version": newer, "all": "is different"})
    with pytest.raises(DataError, match=rf"schema_version {newer}, this ial-bench reads up to {RECORD_VERSION}") as e:
        read_record(tmp_path / "r.json")
    assert "pip install -U ial-bench" in str(e.value)


def test_an_older_record_is_read_as_it_would_be_today(
    tmp_path: Path, real: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(data: dict[str, Any]) -> dict[str, Any]:
        return {
            **{k: v for k, v in data.items() if k != "random_seed"},
            "seed": data["random_seed"],
            "schema_version": 0,
        }

    def second(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "schema_version": RECORD_VERSION}

    monkeypatch.setitem(MIGRATIONS, -1, first)
    monkeypatch.setitem(MIGRATIONS, 0, second)
    today = real.model_dump(mode="json")
    older = {**{k: v for k, v in today.items() if k != "seed"}, "random_seed": today["seed"], "schema_version": -1}
    path = tmp_path / f"{real.run_id}.json"
    write_anyhow(path, older)
    assert read_record(path) == real


def test_a_record_cut_off_anywhere_is_a_data_error(tmp_path: Path, real: RunRecord) -> None:
    path = tmp_path / "r.json"
    write_record(path, real)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"r\.json is not valid JSON"):
            read_record(path)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"text"'])
def test_json_of_another_form_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"r\.json is not a run record: the whole: "):
        read_record(tmp_path / "r.json")


def test_a_missing_record_and_a_folder_in_its_place_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_record(tmp_path / "r.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.json"):
        read_record(tmp_path / "folder.json")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_never_written(tmp_path: Path, real: RunRecord, bad: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Interval(value=bad, ci95=None)
    path = tmp_path / f"{real.run_id}.json"
    told = real.method.model_copy(update={"facts": {"a": bad}})  # what a method says of itself may hold anything
    write_record(path, real.model_copy(update={"method": told}))
    json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert read_record(path).method.facts == {"a": None}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD = {
    "not a number": (float("nan"), "is no number of JSON"),
    "infinity": (float("inf"), "is no number of JSON"),
    "an integer of 400 digits": (10**400, "out of all bounds"),
    "half a character": ("\ud800", "lone surrogate"),
    "nested 300 levels deep": (nested(300), "nested deeper than"),
    "as deep as the parser goes": (nested(900), "nested deeper than"),
}


@pytest.mark.parametrize(("value", "why"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("where", [("method", "facts"), ("provenance", "hardware")])
def test_what_no_record_holds_is_refused_when_it_is_read(
    tmp_path: Path, real: RunRecord, value: Any, why: str, where: tuple[str, str]
) -> None:
    data = real.model_dump(mode="json")
    data[where[0]][where[1]]["x"] = value
    path = tmp_path / f"{real.run_id}.json"
    write_anyhow(path, data)
    with pytest.raises(DataError, match=why):
        read_record(path)


def test_a_number_that_becomes_infinite_is_refused(tmp_path: Path, real: RunRecord) -> None:
    told = real.method.model_copy(update={"facts": {"x": 1.5}})
    path = tmp_path / f"{real.run_id}.json"
    write_record(path, real.model_copy(update={"method": told}))
    path.write_text(path.read_text().replace('"x": 1.5', '"x": 1e999'))
    with pytest.raises(DataError, match="out of all bounds"):
        read_record(path)


@pytest.mark.parametrize("name", ["half a character", "nested 300 levels deep", "an integer of 400 digits"])
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, real: RunRecord, name: str) -> None:
    told = real.method.model_copy(update={"facts": {"x": ODD[name][0]}})
    path = tmp_path / f"{real.run_id}.json"
    with pytest.raises(ValueError, match=r"Unable to serialize|surrogate|deeper|bounds|depth"):
        write_record(path, real.model_copy(update={"method": told}))
    assert not path.exists()


def test_a_record_that_is_too_large_is_not_read_at_all(tmp_path: Path, real: RunRecord) -> None:
    path = tmp_path / f"{real.run_id}.json"
    write_record(path, real)
    with path.open("ab") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(DataError, match=r"4,194,305 bytes, more than the 4,194,304"):
        read_record(path)


FALSE = {
    "99 % beside 47 to 72": put("metrics", "accuracy", "SSA-1", value={"value": 0.99, "ci95": [0.472, 0.722]}),
    "700 %": put("metrics", "accuracy", "SSA-1", value={"value": 7.0, "ci95": None}),
    "an interval the wrong way round": put("metrics", "accuracy", "SSA-1", value={"value": 0.5, "ci95": [0.9, 0.1]}),
    "an interval that ends above 1": put("metrics", "accuracy", "SSA-1", value={"value": 0.5, "ci95": [0.1, 9.0]}),
    "less than none right": put("metrics", "accuracy", "SSA-1", value={"value": -0.1, "ci95": None}),
    "farther than the earth is round": put("metrics", "distance_m", "median", value=3e7),
    "nearer than nothing": put("metrics", "distance_m", "median", value=-1.0),
    "fewer photos than none": put("dataset", "n_queries", value=-5),
    "a storage below nothing": put("size", "storage_bytes", value=-1),
    "a fit that ended before it began": put("phases", "fit", "seconds", value=-1.0),
    "a year for a moment": put("provenance", "finished", value="9999"),
    "a moment without a zone": put("provenance", "finished", value="2026-01-01T00:00:00"),
    "a moment of a thousand years on": put("provenance", "finished", value="3026-01-01T00:00:00+00:00"),
    "another seed than its id's": put("seed", value=1),
    "another k than its id's": put("k", value=9),
    "another method than its id's": put("method", "name", value="majority"),
    "another setting than its id's": put("method", "config", "x", value=1),
}


@pytest.mark.parametrize("change", FALSE.values(), ids=FALSE)
def test_numbers_that_cannot_be_are_refused_by_name(
    tmp_path: Path, real: RunRecord, change: Callable[[Any], None]
) -> None:
    data = copy.deepcopy(real.model_dump(mode="json"))
    change(data)
    path = tmp_path / f"{real.run_id}.json"
    write_anyhow(path, data)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_record(path)


def test_a_copy_under_another_name_is_no_second_run(tmp_path: Path, real: RunRecord) -> None:
    path = tmp_path / "copy.json"
    write_record(path, real)
    with pytest.raises(DataError, match="is the record of another run"):
        read_record(path)


def stored(folder: Path, dataset: str, method: str, seed: int = 0) -> Path:
    record = make_record(method, dataset=dataset, seed=seed)
    path = record_path(folder, dataset, method, record.run_id)
    write_record(path, record)
    return path


def test_records_go_on_after_one_that_cannot_be_read(tmp_path: Path) -> None:
    paths = [stored(tmp_path, *which) for which in (("a", "m"), ("a", "m", 1), ("a", "n"), ("b", "m"))]
    bad = sorted(paths[:2])[1]
    bad.write_bytes(bad.read_bytes()[:100])
    moved = record_path(tmp_path, "a", "z", paths[3].stem)
    moved.parent.mkdir()
    moved.write_bytes(paths[3].read_bytes())
    found = list(records(tmp_path, "a"))
    assert [path for path, _ in found] == [*sorted(paths[:2]), paths[2], moved]
    assert [isinstance(record, DataError) for _, record in found] == [False, True, False, True]
    assert str(bad) in str(found[1][1])
    assert "is the record of another run: b / m" in str(found[3][1])
    assert [path for path, _ in records(tmp_path)] == [*sorted(paths[:2]), paths[2], moved, paths[3]]


@pytest.mark.parametrize("name", ["*", "[ab]", "..", "", "a/m"])
def test_the_name_of_a_dataset_is_no_pattern(tmp_path: Path, name: str) -> None:
    stored(tmp_path, "a", "m")
    assert list(records(tmp_path, name)) == []
    assert list(records(tmp_path, str(tmp_path / "a"))) == []
