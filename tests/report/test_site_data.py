"""The report's data: packed and cut into chunks, nothing is lost; what it says agrees with other ways to count."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.engine.scoring import outcomes
from ial_bench.escape import file_name, printable, short
from ial_bench.geo.lines import StreetLines
from ial_bench.metrics.accuracy import Areas
from ial_bench.metrics.comparison import compare
from ial_bench.progress import NoReport
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.data import (
    CHUNK,
    NOWHERE,
    SAME_STREET,
    SHOWN,
    Comparison,
    bits,
    degrees,
    floats,
    integers,
    lines_data,
    outcomes_of,
    script,
)
from ial_bench.report.site.pages import charts, shares
from ial_bench.report.site.source import gather
from ial_bench.topk import NO_ANSWER, TopK
from support.made_results import NAME, Method, made_top, made_truth, write_results

FORMATS = {"u1": "B", "u2": "H", "i2": "h", "i4": "i", "f4": "f"}
QUERIES = 20_000


def unpacked(packed: dict[str, Any]) -> list[Any]:
    raw = base64.b64decode(packed["data"])
    kind = FORMATS[packed["kind"]]
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(kind)}{kind}", raw))


def value_in(text: str) -> tuple[str, Any]:
    """The key and the value of a file of data, which besides the call is JSON."""
    assert text.startswith("IalBench.put(")
    assert text.endswith(");\n")
    key, value = json.loads(f"[{text.removeprefix('IalBench.put(').removesuffix(');' + chr(10))}]")
    return key, value


def read(folder: Path, key: str) -> Any:
    found, value = value_in((folder / f"{key}.js").read_text(encoding="ascii"))
    assert found == key
    return value


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 255], "u1"), ([0, 256], "u2"), ([-1, 70], "i2"), ([-1, 40_000], "i4"), ([70_000], "i4"), ([], "u1")],
)
def test_integers_take_the_smallest_type_that_holds_them(values: list[int], kind: str) -> None:
    packed = integers(np.array(values, dtype=np.int64))
    assert packed["kind"] == kind
    assert unpacked(packed) == values


def test_integers_of_more_than_32_bits_are_refused() -> None:
    with pytest.raises(OverflowError, match="32 bits"):
        integers([1 << 40])


def test_numbers_come_back() -> None:
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    assert unpacked(floats(values)) == values.tolist()
    assert math.isnan(unpacked(floats([np.nan]))[0])
    assert unpacked(degrees([48.1234567, -180.0, np.nan])) == [48123457, -180000000, NOWHERE]
    flags = np.random.default_rng(1).random(77) < 0.5
    found = unpacked(bits(flags))
    assert [bool(found[i >> 3] >> (i & 7) & 1) for i in range(77)] == flags.tolist()


def test_scripts_are_harmless_wherever_they_are_put() -> None:
    hostile = "</script><script>alert(1)</script><!-- \u2028\u2029 \ud800 ü & ' \" `${x}` \\"
    text = script(hostile, {"a": [hostile]})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert value_in(text) == (hostile, {"a": [hostile]})


def test_texts_are_printable_and_short() -> None:
    assert printable("a\x00b\x1b[31m\u202ec\ud800\nd") == "a\ufffdb\ufffd[31m\ufffdc\ufffd\nd"
    assert len(short("x" * 10**6)) == 161
    assert short("a\n  b") == "a b"
    assert file_name("retrieval-2.x") == "retrieval-2.x"
    names = ["..", ".", "", "a/b", "con:", "<img>", "a" * 300, "ä", ".hidden", "a.", "\ud800", "-x"]
    made = [file_name(n) for n in names]
    assert len(set(made)) == len(names)
    assert all(m.isalnum() and m.startswith("x") for m in made)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GroundTruth, list[Method]]:
    """A report on 20,000 queries; its data folder, the truth, the methods from best to worst."""
    folder = tmp_path_factory.mktemp("large")
    truth = made_truth(QUERIES)
    methods = [Method("good", "Good", 0.7, positions=True), Method("fair", "Fair", 0.4)]
    write_results(folder / "results", truth, methods)
    _, problems = build(folder / "out", [NAME], Options(folder / "results", folder), NoReport())
    assert problems == []
    return folder / "out" / "datasets" / NAME / "data", truth, methods


def test_chunks_hold_every_query_and_answer_once(large: tuple[Path, GroundTruth, list[Method]]) -> None:
    folder, truth, methods = large
    n_chunks = QUERIES // CHUNK
    assert len(list(folder.glob("queries-*.js"))) == n_chunks
    chunks = [read(folder, f"queries-{i}") for i in range(n_chunks)]
    assert [i for c in chunks for i in c["ids"]] == truth.ids
    assert [p for c in chunks for p in c["paths"]] == truth.paths
    index = read(folder, "index")
    assert [r["label"] for r in index["runs"]] == ["Good", "Fair"]
    for run, method in zip(index["runs"], methods, strict=True):
        top = made_top(truth, method)
        parts = [read(folder, f"answers-{run['number']}-{i}") for i in range(n_chunks)]
        assert [v for p in parts for v in unpacked(p["candidates"])] == top.indices[:, :SHOWN].ravel().tolist()
        assert [v for p in parts for v in unpacked(p["scores"])] == top.scores[:, :SHOWN].ravel().tolist()
        assert unpacked(read(folder, f"first-{run['number']}")["first"]) == top.indices[:, 0].tolist()
        assert ("lat" in parts[0]) == method.positions
    assert unpacked(read(folder, "where")["address"]) == truth.address_rows.tolist()
    assert unpacked(index["addresses"]["candidates"]) == truth.candidate_rows.tolist()


def test_no_file_grows_with_the_number_of_queries_but_columns(large: tuple[Path, GroundTruth, list[Method]]) -> None:
    folder, truth, _ = large
    for path in folder.glob("*.js"):
        column = path.name.startswith(("where", "points", "outcome", "first", "photos"))
        most = 12 * len(truth) if column else 260 * CHUNK
        assert path.stat().st_size < most, path.name


def test_streets_come_back() -> None:
    lines = StreetLines.of(
        [5, 2], [np.array([[48.0, 11.0], [48.1, 11.1], [48.2, 11.0]]), np.array([[-1.0, 2.0], [3.0, 4]])]
    )
    told = lines_data(lines)
    assert unpacked(told["address"]) == [5, 2]
    assert unpacked(told["starts"]) == [0, 3, 5]
    found = np.stack([unpacked(told["lat"]), unpacked(told["lon"])], axis=1) / 1e6
    assert found == pytest.approx(lines.points)


def test_outcomes_are_those_of_a_count_by_hand() -> None:
    addresses = [Address("A", "X", ("c",)), Address("a", "x", ("d",)), Address("A", "Y", ("c",)), Address("B", "X")]
    truth = made_truth(9, addresses)
    areas = Areas.of(truth.addresses)
    rng = np.random.default_rng(2)
    top = TopK(np.stack([rng.permutation(3) for _ in range(9)]).astype(np.int32), np.zeros((9, 3), np.float32))
    top.indices[4] = [1, NO_ANSWER, NO_ANSWER]
    top.indices[5] = NO_ANSWER
    for found, row, address in zip(
        outcomes_of(top, truth, areas), top.indices.tolist(), truth.address_rows, strict=True
    ):
        named = [truth.addresses[c] if c >= 0 else None for c in row]
        true = truth.addresses[address]
        place = next((i for i, a in enumerate(named, 1) if a is true), 0)
        same = named[0] is not None and named[0].street_key == true.street_key
        assert found == place + SAME_STREET * same


def test_shares_are_those_of_a_count_by_hand() -> None:
    truth = made_truth(200)
    names, values, _ = outcomes(made_top(truth, Method("m")), truth)
    right, street = (values[:, names.index(m)] for m in ("SSA-1", "SA-1"))
    by_area, by_street = shares(Areas.of(truth.addresses), truth.address_rows, right, street)
    areas, streets = defaultdict(list), defaultdict(list)
    for address, r, s in zip(truth.address_rows, right, street, strict=True):
        areas[truth.addresses[address].neighbourhood].append((r, s))
        streets[truth.addresses[address].neighbourhood, truth.addresses[address].street].append((r, s))
    assert {s.name: (s.queries, s.right, s.street) for s in by_area} == {
        name: (len(v), np.mean([r for r, _ in v]), np.mean([s for _, s in v])) for name, v in areas.items()
    }
    assert {(s.within, s.name): s.queries for s in by_street} == {key: len(v) for key, v in streets.items()}
    assert [s.queries for s in by_street] == sorted((s.queries for s in by_street), reverse=True)


def test_comparisons_are_those_of_the_metric_alone(tmp_path: Path) -> None:
    truth = made_truth(240)
    methods = [Method("a", "A", 0.6), Method("b", "B", 0.5), Method("b", "B", 0.4, seed=1), Method("c", "C", 0.45)]
    write_results(tmp_path, truth, methods)
    source = gather(tmp_path, NAME, tmp_path)
    assert source.answers is not None
    metrics = ("SSA-1", "SA-5")
    comparison = Comparison(source.groups, metrics)
    by_metric: dict[str, list[Any]] = {m: [[] for _ in source.groups] for m in metrics}
    for run in source.runs:
        names, values, _ = outcomes(source.answers.top(run.record), truth)
        comparison.add(run, names, values)
        for m in metrics:
            by_metric[m][run.group].append(values[:, names.index(m)])
    told = comparison.data(truth, Areas.of(truth.addresses), {0, 1, 2})
    for m in metrics:
        columns = np.stack([np.mean(seeds, axis=0) for seeds in by_metric[m]], axis=1)
        for pair, known in zip(told["metrics"][m]["pairs"], compare(columns, truth.places), strict=True):
            assert (pair["a"], pair["b"], pair["separable"]) == (known.first, known.second, known.separable)
            assert pair["ci95"] == pytest.approx(known.ci95)
            found = [pair[key] for key in ("difference", "aAlone", "bAlone", "p", "pHolm")]
            assert found == pytest.approx([known.value, known.only_first, known.only_second, known.p, known.p_holm])
            assert pair["both"] + pair["neither"] + pair["aAlone"] + pair["bAlone"] == pytest.approx(len(truth))


def test_oracles_and_groups_with_missing_answers_are_not_compared(tmp_path: Path) -> None:
    truth = made_truth(40)
    records = write_results(tmp_path, truth, [Method("a", "A"), Method("o", "O", oracle=True), Method("c", "C")])
    source = gather(tmp_path, NAME, tmp_path)
    comparison = Comparison(source.groups, ["SSA-1"])
    for run in source.runs:
        names, values, _ = outcomes(made_top(truth, Method(run.record.method.name)), truth)
        comparison.add(run, names, values)
    assert len(records) == 3
    told = comparison.data(
        truth, Areas.of(truth.addresses), {i for i, g in enumerate(source.groups) if g.method != "c"}
    )
    assert [g["label"] for g in told["groups"]] == ["A"]
    assert told["metrics"]["SSA-1"]["pairs"] == []


def test_charts_show_losses_and_val_accuracy() -> None:
    epochs = [{"losses": {"total": 2.0 / e, "text": 1.0}, "val_ssa1": 0.1 * e} for e in range(1, 5)]
    loss, val = charts({"training": {"epochs": epochs, "best_epoch": 4}})
    assert [line.name for line in loss.lines] == ["total", "text"]
    assert [t for _, t in loss.x_ticks] == ["1", "2", "3", "4"]
    assert [text for _, _, text in val.lines[0].dots] == ["epoch 1: 10", "epoch 2: 20", "epoch 3: 30", "epoch 4: 40"]
    assert val.best == val.lines[0].dots[3][0]
    heights = [y for _, y, _ in val.lines[0].dots]
    assert heights == sorted(heights, reverse=True)
    assert all(val.top <= y <= val.bottom for y in heights)


@pytest.mark.parametrize(
    "facts",
    [
        {}, {"training": 3}, {"training": {"epochs": "abc"}}, {"training": {"epochs": [None, 7]}},
        {"training": {"epochs": [{"losses": [1], "val_ssa1": "x"}]}},
        {"training": {"epochs": [{"losses": {"a": float("nan")}, "val_ssa1": None}], "best_epoch": 99}},
    ],
)  # fmt: skip
def test_facts_of_another_kind_have_no_charts(facts: dict[str, Any]) -> None:
    assert charts(facts) == []
