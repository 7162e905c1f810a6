"""What the page of one run shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ial_bench.engine.record import Interval, Metrics, RunRecord
from ial_bench.report.site.areas import Share
from ial_bench.report.site.curves import charts
from ial_bench.report.site.pages import flat
from ial_bench.report.site.texts import file_name

_MOST_STREETS = 2_000  # rows of a table


def page_of(record: RunRecord) -> str:
    """Where a run's page lies, below its dataset's folder."""
    return f"runs/{file_name(record.method.name)}-{file_name(record.run_id)}.html"


def run_values(
    record: RunRecord, label: str, breakdown: tuple[Sequence[Share], Sequence[Share]] | None, problem: str
) -> dict[str, Any]:
    """The values of the template ``run``.

    Args:
        record: of the run.
        label: its title.
        breakdown: shares of right answers by neighbourhood and by street; None where its answers are not shown.
        problem: why they are not; empty for nothing to say.
    """
    by_area, by_street = breakdown or ((), ())
    drawn = charts(record.method.facts)
    told = {k: v for k, v in record.method.facts.items() if k != "training" or not drawn}
    method = record.method.model_dump(exclude={"config", "facts"}, exclude_none=True)
    costs = {
        **({} if record.phases is None else record.phases.model_dump(exclude_none=True)),
        **({} if record.size is None else record.size.model_dump()),
    }
    return {
        "record": record, "label": label, "shown": breakdown is not None, "problem": problem, "charts": drawn,
        "by_area": by_area, "by_street": by_street[:_MOST_STREETS], "n_streets": len(by_street),
        "metrics": [] if record.metrics is None else _intervals(record.metrics), "told": flat(told),
        "costs": [(k, float(f"{v:.6g}") if isinstance(v, float) else v) for k, v in flat(costs)],
        "config": flat(record.method.config),
        "method": [*flat(method), ("stored answers", record.k), ("number type", record.dtype)],
        "dataset": flat(record.dataset.model_dump()), "provenance": flat(record.provenance.model_dump()),
    }  # fmt: skip


def _intervals(metrics: Metrics) -> list[tuple[str, Interval]]:
    radii: list[tuple[str, Interval]] = [
        (f"within {name.removeprefix('within_')} m", getattr(metrics.distance_m, name))
        for name in type(metrics.distance_m).model_fields
        if name.startswith("within_")
    ]
    return [*metrics.accuracy.items(), *radii]
