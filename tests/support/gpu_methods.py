"""Methods on a device against themselves on the CPU: `gpu_check.py` says what for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import record_path
from ial_bench.engine.run import Engine
from ial_bench.method import Method, MethodConfig
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import BACKBONE
from ial_bench.topk import TopK

SAME_TOP1 = 0.99
"""Share of queries that a method without training must answer on the device as on the CPU."""
SEED = 0

State = Literal["same", "differs", "reported", "skipped", "failed", "left out"]


@dataclass(frozen=True)
class Compared:
    """A method on the device against itself on the CPU.

    Attributes:
        state: "reported" where parameters are trained: roundings grow in training, so nothing is held.
        reason: why it was skipped, failed or left out.
        same_top1: share of the queries with the same best candidate.
        largest_difference: of scores, over all candidates that both list.
        score_range: from the lowest to the highest score on the CPU, to read the difference by.
        ssa1: on the device and on the CPU.
        seconds: on the device and on the CPU, all in all, timing of queries included.
        p50_ms: of a query on the device.
    """

    method: str
    state: State
    reason: str | None = None
    same_top1: float | None = None
    largest_difference: float | None = None
    score_range: float | None = None
    ssa1: tuple[float, float] | None = None
    seconds: tuple[float, float] | None = None
    p50_ms: float | None = None

    def __str__(self) -> str:
        if self.same_top1 is None or self.ssa1 is None or self.seconds is None:
            return f"{self.method}: {self.state}: {self.reason}"
        return (
            f"{self.method}: {self.state}; same top-1 {100 * self.same_top1:.1f} %, scores differ by at most "
            f"{self.largest_difference:.2g} of {self.score_range:.3g}, SSA-1 {100 * self.ssa1[0]:.1f} and "
            f"{100 * self.ssa1[1]:.1f} %, {self.seconds[0]:.1f} and {self.seconds[1]:.1f} s, p50 {self.p50_ms:.2f} ms"
        )


class Bench:
    """Runs methods on a city through the engine, in a folder of its own: features are not kept by device."""

    def __init__(self, city: Dataset, folder: Path, device: str, *, timing: bool, workers: int) -> None:
        self.city = city
        k = len(city.candidates)  # all are listed, so that all scores can be compared
        self._options = EngineOptions(folder / "results", folder / "cache", device, workers=workers, k=k, timing=timing)
        self._store = FeatureStore(self._options.cache, device, self._options.batch_size, workers, NoReport())
        self._engine = Engine(city, self._options, self._store, NoReport())

    def run(self, method: type[Method], config: MethodConfig) -> tuple[RunRecord, float]:
        """The record of a run, and the seconds it took; a run that was done before is not made anew."""
        started = time.perf_counter()
        choice = ConfiguredMethod(method, config, "ial-bench")
        (planned,) = plan(self.city, [choice], [SEED], self._options, self._store, NoReport())
        return planned.done or self._engine.execute(planned), time.perf_counter() - started

    def answers(self, record: RunRecord) -> TopK:
        """What it answered."""
        assert record.predictions is not None
        path = record_path(self._options.results, self.city.name, record.method.name, record.run_id)
        return read_predictions(path.parent / record.predictions.path)[1]


def config_of(method: type[Method], backbone: str, **given: Any) -> MethodConfig:
    """The defaults, trained briefly, and with one value in place of each choice on val: the middle of its grid.

    A val photo at the edge would change the choice, and with it many answers, though the arithmetic is right.
    """
    fields = method.Config.model_fields
    for name in (n for n in fields if n.endswith("_grid")):
        values = fields[name].default
        given[name] = (values[len(values) // 2],)
    common = {"epochs": 2, "c": 1.0, BACKBONE: backbone}
    given |= {name: value for name, value in common.items() if name in fields}
    return method.Config(**given)


def compare(
    name: str, given: Mapping[str, Any], registry: Registry, backbone: str, benches: Sequence[Bench]
) -> Compared:
    """A method on two benches; the first has the settings `given` beside the others'."""
    label = " ".join([name, *(f"{key}={value}" for key, value in given.items())])
    try:
        method = registry.get(name)
        configs = config_of(method, backbone, **given), config_of(method, backbone)
        (one, seconds), (other, cpu_seconds) = (b.run(method, c) for b, c in zip(benches, configs, strict=True))
    except Exception as error:  # noqa: BLE001 - whatever stops one method must not stop the check
        return Compared(label, "failed", f"{type(error).__name__}: {error}")
    for record, where in ((one, ""), (other, "on the CPU: ")):
        if record.status != "done":
            return Compared(label, record.status, f"{where}{record.reason}")
    top, cpu_top = benches[0].answers(one), benches[1].answers(other)
    assert one.metrics is not None
    assert other.metrics is not None
    assert one.size is not None
    assert one.phases is not None
    assert one.phases.query is not None
    same = float((top.indices[:, 0] == cpu_top.indices[:, 0]).mean())
    n = len(benches[0].city.candidates)
    scores, cpu_scores = dense(top, n), dense(cpu_top, n)
    held = one.size.parameters_trained == 0
    return Compared(
        label,
        ("same" if same >= SAME_TOP1 else "differs") if held else "reported",
        None if not held or same >= SAME_TOP1 else f"same top-1 {100 * same:.1f} %, wanted {100 * SAME_TOP1:.0f} %",
        same,
        float(np.nanmax(np.abs(scores - cpu_scores), initial=0.0)),
        float(np.nanmax(cpu_scores) - np.nanmin(cpu_scores)),
        (one.metrics.accuracy["SSA-1"].value, other.metrics.accuracy["SSA-1"].value),
        (seconds, cpu_seconds),
        one.phases.query.p50_ms,
    )


def dense(top: TopK, n: int) -> npt.NDArray[np.float32]:
    """Scores [queries, n] by candidate, NaN of those that are not listed."""
    scores = np.full((len(top), n), np.nan, np.float32)
    rows, places = np.nonzero(top.indices >= 0)
    scores[rows, top.indices[rows, places]] = top.scores[rows, places]
    return scores
