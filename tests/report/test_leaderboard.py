"""The leaderboard's model: what is compared, what is ranked, what is said beside it."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from ial_bench.engine.record import RunRecord
from ial_bench.report.leaderboard import build_table
from ial_bench.report.published import PublishedRow, published_rows
from ial_bench.report.table import Row, Table
from support.made_records import make_record

DATASET = "made-city"
LATENCY, STORAGE, PARAMETERS = "p50 (ms)", "storage (MB)", "parameters (M)"
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "published.json"
"""The paper's numbers, written down apart from the project's, where they lie beside the checkout."""


def titles(table: Table) -> list[str]:
    return [r.title for r in table.rows]


def row(table: Table, title: str) -> Row:
    (found,) = [r for r in table.rows if r.title == title]
    return found


def marks(table: Table, column: str) -> dict[str, str]:
    return {r.title: r.cells[column].mark.value for r in table.rows}


def ssa(name: str, value: float, **facts: Any) -> RunRecord:
    return make_record(name, {"SSA-1": value}, **facts)


def table_of(*records: Any, **options: Any) -> Table:
    return build_table(records, DATASET, **{"metrics": ["SSA-1"], **options})


# -------------------------------------------------------------------------------------------- order and marks


def test_rows_stand_from_best_to_worst_by_the_first_metric_then_by_title() -> None:
    records = [
        make_record("c", {"SSA-1": 0.2, "SA-1": 0.9}),
        make_record("b", {"SSA-1": 0.5, "SA-1": 0.6}),
        make_record("d", {"SSA-1": 0.2, "SA-1": 0.1}),
        make_record("a", {"SSA-1": 0.9, "SA-1": 0.3}),
    ]
    assert titles(build_table(records, DATASET, ["SSA-1", "SA-1"])) == ["a", "b", "c", "d"]
    assert titles(build_table(records, DATASET, ["SA-1", "SSA-1"])) == ["c", "b", "a", "d"]


def test_best_and_second_are_marked_as_they_are_shown() -> None:
    # 0.50049 and 0.5 are both shown as 50.0; 0.4 and 0.39951 as 40.0.
    table = table_of(*(ssa(n, v) for n, v in zip("abcde", [0.5, 0.50049, 0.39951, 0.4, 0.399], strict=True)))
    assert titles(table) == ["b", "a", "d", "c", "e"]
    assert marks(table, "SSA-1") == {"b": "best", "a": "best", "d": "second", "c": "second", "e": ""}


def test_less_is_better_for_latency_and_storage_and_parameters_are_not_ranked() -> None:
    table = table_of(
        ssa("a", 0.5, latency_ms=2.0, storage_bytes=10**6, parameters=10**6),
        ssa("b", 0.4, latency_ms=1.0, storage_bytes=3 * 10**6, parameters=2 * 10**6),
        ssa("c", 0.3, storage_bytes=2 * 10**6, parameters=3 * 10**6),
    )
    assert marks(table, LATENCY) == {"a": "second", "b": "best", "c": ""}
    assert marks(table, STORAGE) == {"a": "best", "b": "", "c": "second"}
    assert set(marks(table, PARAMETERS).values()) == {""}
    cells = row(table, "b").cells
    assert [cells[c].value for c in (LATENCY, STORAGE, PARAMETERS)] == [1.0, 3.0, 2.0]


def test_a_single_row_is_not_the_best_of_anything() -> None:
    assert marks(table_of(ssa("a", 0.5, latency_ms=1.0)), "SSA-1") == {"a": ""}


def test_a_metric_that_a_record_lacks_is_empty_and_unmarked() -> None:
    table = table_of(ssa("a", 0.5), ssa("b", 0.4), make_record("c", {"SA-1": 0.9}))
    assert row(table, "c").cells["SSA-1"].value is None
    assert marks(table, "SSA-1") == {"a": "best", "b": "second", "c": ""}


def test_oracles_and_published_rows_are_shown_below_and_never_ranked() -> None:
    published = [PublishedRow("paper's", "key2024", "ECCV", {"SSA-1": 0.99}, 1e6, 0.01, DATASET)]
    table = table_of(
        ssa("oracle", 0.95, oracle=True, latency_ms=0.1),
        ssa("a", 0.5, latency_ms=1.0, storage_bytes=10**7),
        ssa("b", 0.4, latency_ms=2.0, storage_bytes=2 * 10**7),
        published=published,
    )
    assert [(r.title, r.kind) for r in table.rows] == [
        ("a", "measured"),
        ("b", "measured"),
        ("oracle", "oracle"),
        ("paper's", "published"),
    ]
    for column in ("SSA-1", LATENCY, STORAGE):
        assert marks(table, column) == {"a": "best", "b": "second", "oracle": "", "paper's": ""}
    paper = table.rows[-1]
    assert (paper.cite, paper.seeds) == ("key2024", 0)
    assert [paper.cells[c].value for c in ("SSA-1", LATENCY, STORAGE)] == [0.99, 0.01, 1.0]
    assert any("oracles" in n for n in table.notes)


# ------------------------------------------------------------------------------------- seeds and configurations


def test_seeds_are_joined_with_mean_and_standard_deviation() -> None:
    values = [0.40, 0.42, 0.47]
    lows, highs = [0.30, 0.33, 0.36], [0.50, 0.53, 0.59]
    records = [
        make_record("a", {"SSA-1": (v, (low, high))}, seed=s, latency_ms=1.0 + s)
        for s, (v, low, high) in enumerate(zip(values, lows, highs, strict=True))
    ]
    table = table_of(*records, ssa("b", 0.1))
    assert len(table.rows) == 2
    joined = row(table, "a")
    cell = joined.cells["SSA-1"]
    assert joined.seeds == 3
    assert cell.value == pytest.approx(0.43)
    assert cell.spread == pytest.approx(statistics.stdev(values))
    assert cell.ci95 == pytest.approx((0.33, 0.54))
    assert joined.cells[LATENCY].value == pytest.approx(2.0)


def test_a_single_run_has_no_spread_rather_than_none_at_all() -> None:
    table = table_of(ssa("a", 0.5), ssa("b", 0.4, oracle=True))
    assert [r.cells["SSA-1"].spread for r in table.rows] == [None, None]
    assert [r.seeds for r in table.rows] == [1, 1]


CHECKPOINT = "openclip:ViT-B-16/{}/model.pt"
CONFIGURATIONS = {
    "a setting": ([{"config": {"c": 1.0, "same": 5}}, {"config": {"c": 0.5, "same": 5}}], ["(c=0.5)", "(c=1.0)"]),
    "several settings": (
        [{"config": {"c": 1, "d": "x"}}, {"config": {"c": 2, "d": "x"}}, {"config": {"c": 2, "d": "y"}}],
        ["(c=1, d=x)", "(c=2, d=x)", "(c=2, d=y)"],
    ),
    "a setting that is new": ([{"config": {}}, {"config": {"new": None}}], ["", "(new=null)"]),
    "a list of words": (
        [{"config": {"losses": v, "x": 1}} for v in (["address"], ["address", "caption"])],
        ["(losses=address)", "(losses=address+caption)"],
    ),
    "a preset, and what was changed on top": (
        [
            {"config": {"epochs": 8, "rate": 4e-4, "jitter": 0.1}},
            {"config": {"epochs": 100, "rate": 2e-5, "jitter": 0.1}, "preset": "paper"},
            {"config": {"epochs": 20, "rate": 2e-5, "jitter": 0.1}, "preset": "paper", "changed": ["epochs"]},
            {"config": {"epochs": 8, "rate": 4e-4, "jitter": 0.3}, "changed": ["jitter"]},
        ],
        [
            "(epochs=8, jitter=0.1)",
            "(epochs=8, jitter=0.3)",
            "(preset paper, epochs=100, jitter=0.1)",
            "(preset paper, epochs=20, jitter=0.1)",
        ],
    ),
    "a preset alone": (
        [{"config": {"epochs": 8, "rate": 4e-4}}, {"config": {"epochs": 100, "rate": 2e-5}, "preset": "paper"}],
        ["", "(preset paper)"],
    ),
    "the version": ([{"version": "1"}, {"version": "2"}], ["(version 1)", "(version 2)"]),
    "weights under one name": (
        [{"backbone": "timm:resnet50", "weights": w * 64} for w in "ab"],
        ["(weights aaaaaaaa)", "(weights bbbbbbbb)"],
    ),
    "one file name in two folders": (
        [{"backbone": (b := CHECKPOINT.format(x)), "config": {"backbone": b}, "weights": "a"} for x in "pq"],
        [f"(backbone={CHECKPOINT.format(x)})" for x in "pq"],
    ),
}


@pytest.mark.parametrize(("facts", "differences"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations_of_one_method_have_rows_that_can_be_told_apart(
    facts: list[dict[str, Any]], differences: list[str]
) -> None:
    table = table_of(*(ssa("a", 0.5, title="A", **f) for f in facts), ssa("b", 0.4, config={"c": 9}))
    assert [r.title for r in table.rows if r.title != "b"] == [f"A {d}".rstrip() for d in differences]


def test_rows_that_their_backbone_tells_apart_are_not_given_longer_titles() -> None:
    specs = ["openclip:ViT-B-16/openai", "openclip:ViT-B-16/laion2b", "timm:resnet50"]
    records = [ssa("a", 0.5, config={"backbone": s}, backbone=s, weights=str(i)) for i, s in enumerate(specs)]
    shown = [(r.title, r.cells["backbone"].text) for r in table_of(*records).rows]
    assert shown == [("a", "ViT-B-16 (laion2b)"), ("a", "ViT-B-16 (openai)"), ("a", "resnet50")]


def test_untrained_encoders_are_called_so() -> None:
    table = table_of(ssa("a", 0.5, backbone="openclip:RN50/random-init"), ssa("b", 0.4, backbone="timm:resnet50"))
    assert row(table, "a").cells["backbone"].text == "RN50 (random-init: untrained)"
    assert any("untrained" in n and "say nothing about the trained model" in n for n in table.notes)
    assert not any("untrained" in n for n in table_of(ssa("b", 0.4, backbone="timm:resnet50")).notes)


def test_an_encoder_of_an_unknown_library_is_shown_by_its_name() -> None:
    table = table_of(ssa("a", 0.5, backbone="future:net/weights"))
    assert row(table, "a").cells["backbone"].text == "future:net/weights"


# ---------------------------------------------------------------------------------------------- what is compared


def test_other_datasets_are_ignored() -> None:
    table = table_of(ssa("a", 0.5), ssa("b", 0.9, dataset="elsewhere"))
    assert titles(table) == ["a"]
    assert not any("left out" in n for n in table.notes)


def test_limited_runs_never_stand_among_whole_ones_however_new() -> None:
    whole = [ssa("a", 0.5), ssa("b", 0.4)]
    limited = [
        ssa(n, 0.9, limit=limit, finished="2026-03-01T00:00:00+00:00") for n, limit in [("a", 5), ("c", 5), ("d", 6)]
    ]
    table = table_of(*limited, *whole)
    assert titles(table) == ["a", "b"]
    assert row(table, "a").cells["SSA-1"].value == 0.5
    assert any(n.startswith("3 other runs are left out") for n in table.notes)
    assert not any("limited" in n and "quick look" in n for n in table.notes)


def test_limited_runs_are_shown_when_asked_for_or_alone_and_called_so() -> None:
    records = [ssa("a", 0.5), ssa("b", 0.9, limit=5), ssa("c", 0.8, limit=6)]
    table = table_of(*records, limit=5)
    assert titles(table) == ["b"]
    assert any("limited to 5 photos a split" in n and "not a result" in n for n in table.notes)
    assert any(n.startswith("2 other runs are left out") for n in table.notes)
    alone = table_of(records[1])
    assert titles(alone) == ["b"]
    assert any("limited to 5 photos a split" in n for n in alone.notes)


def test_a_limit_that_no_run_has_is_said() -> None:
    table = table_of(ssa("a", 0.5), limit=7)
    assert titles(table) == []
    assert any("no runs are limited to 7 photos" in n for n in table.notes)


@pytest.mark.parametrize("other", [{"dataset_digest": "e" * 64}, {"k": 20}], ids=["another dataset", "another k"])
def test_the_latest_population_is_shown_and_the_others_are_counted(other: dict[str, Any]) -> None:
    old = [ssa("a", 0.5), ssa("b", 0.4)]
    new = ssa("c", 0.1, finished="2026-06-01T00:00:00+00:00", **other)
    table = table_of(*old, new)
    assert titles(table) == ["c"]
    assert any(n.startswith("2 other runs are left out") for n in table.notes)
    assert any(n.startswith("1 other run is left out") for n in table_of(old[0], new).notes)


def test_latencies_of_different_hardware_are_not_ranked_and_all_of_it_is_named() -> None:
    same = [ssa("a", 0.5, latency_ms=2.0), ssa("b", 0.4, latency_ms=1.0)]
    assert marks(table_of(*same), LATENCY) == {"a": "second", "b": "best"}
    assert any("fast machine, 4 cores" in n for n in table_of(*same).notes)
    # A run without a latency does not matter, wherever it was made.
    assert marks(table_of(*same, ssa("c", 0.3, hardware="other")), LATENCY)["b"] == "best"
    mixed = table_of(*same, ssa("c", 0.3, latency_ms=3.0, hardware="slow machine"))
    assert set(marks(mixed, LATENCY).values()) == {""}
    assert marks(mixed, "SSA-1")["a"] == "best"
    assert any("not comparable" in n for n in mixed.notes)
    (where,) = [n for n in mixed.notes if "decoded photo" in n]
    assert "fast machine" in where
    assert where.endswith("; c on slow machine, 4 cores")


def test_no_latency_no_word_about_it() -> None:
    assert not any("latency" in n for n in table_of(ssa("a", 0.5)).notes)


def test_methods_without_a_row_are_listed_with_the_reason() -> None:
    table = table_of(
        ssa("a", 0.5),
        make_record("a", status="failed", reason="out of memory", seed=1),  # it has a row
        make_record("b", status="failed", reason="old reason", finished="2026-01-01T00:00:00+00:00"),
        make_record("b", status="skipped", reason="no weights here", finished="2026-01-02T00:00:00+00:00"),
        make_record("c", status="failed", reason="ValueError: bad"),
        make_record("d", status="failed", reason="elsewhere", dataset="elsewhere"),
    )
    assert titles(table) == ["a"]
    listed = [n for n in table.notes if re.match(r"[abcd] ", n)]
    assert listed == ["b was skipped: no weights here", "c failed: ValueError: bad"]


def test_queries_without_candidate_are_counted_beside_the_table() -> None:
    assert any(n.startswith("1,500 queries") for n in table_of(ssa("a", 0.5, without_candidate=1500)).notes)
    notes = table_of(ssa("a", 0.5)).notes
    assert "1,234 queries from 56 places, 78 candidate addresses" in notes
    assert not any("no candidate" in n for n in notes)


def test_no_records_make_an_empty_table() -> None:
    table = build_table([], DATASET)
    assert (table.rows, table.notes) == ((), ())
    assert [c.name for c in table.columns] == [
        "backbone", "SSA-1", "SSA-5", "SA-1", "SA-5", LATENCY, STORAGE, PARAMETERS,
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------- published numbers


def test_published_numbers_are_fractions_with_their_citation() -> None:
    rows = {r.method: r for r in published_rows("pitts-ial")}
    best = rows["AddressCLIP"]
    assert best.accuracy == pytest.approx({"SSA-1": 0.8039, "SA-1": 0.8262})
    assert (best.key, best.venue, best.storage_bytes, best.latency_ms) == ("xu2024addressclip", "ECCV 2024", None, None)
    retrieval = rows["SALAD (ResNet-50 comparison)"]
    assert retrieval.storage_bytes == pytest.approx(2.34e9)
    assert retrieval.latency_ms == 2.53
    assert published_rows("no-such-city") == []


@pytest.mark.parametrize("dataset", ["pitts-ial", "sf-ial-base", "sf-ial-large"])
def test_published_rows_are_the_papers(dataset: str) -> None:
    if not REFERENCE.is_file():
        pytest.skip(f"no reference numbers at {REFERENCE}")
    paper = json.loads(REFERENCE.read_text(encoding="utf-8"))
    expected = [(r["method"], r[dataset]) for r in paper["main_table"]]
    if dataset == "pitts-ial":
        expected += [(r["method"], {k: v for k, v in r.items() if k != "method"}) for r in paper["retrieval_pitts_ial"]]
    table = build_table([], dataset, ["SSA-1", "SA-1"], published_rows(dataset))
    assert len(table.rows) == len(expected)
    for found, (method, numbers) in zip(table.rows, expected, strict=True):
        assert set(method.split()) <= set(found.title.split())
        assert (found.kind, found.cite) == ("published", paper["source"]["key"])
        shown = {
            "SSA-1": numbers.get("SSA-1", 0) / 100,
            "SA-1": numbers.get("SA-1", 0) / 100,
            LATENCY: numbers.get("latency_ms", 0),
            STORAGE: numbers.get("storage_gb", 0) * 1000,
        }
        assert {name: found.cells[name].value or 0 for name in shown} == pytest.approx(shown)
