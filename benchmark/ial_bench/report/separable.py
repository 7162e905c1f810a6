"""Which rows the data cannot tell from the best one, from the stored answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ial_bench.engine.record import RunRecord
from ial_bench.errors import DataError

if TYPE_CHECKING:
    from ial_bench.report.answers import Outcomes


def not_told_apart(
    rows: Sequence[Sequence[RunRecord]], name: str, outcomes: Outcomes | None
) -> tuple[frozenset[int], str | None]:
    """The rows that are not separable from the one of largest mean, which is not among them.

    Sign flips of whole places, corrected for all rows and for the choice of the best from the same answers; seeds are
    averaged query by query. All rows or none: were some rows' answers missing, those would pass for separable.

    Args:
        rows: the runs of each, on the same photos.
        name: what the table calls the metric that rows are compared by.
        outcomes: of their answers, under that metric; None: not looked at.

    Returns:
        Positions in `rows`, and what to say beside the table: what the mark means, or why there is none and what
        mends it.
    """
    if len(rows) < 2 or outcomes is None:
        return frozenset(), None
    untold = "rows not separable from the best are not marked: "
    import numpy as np

    from ial_bench.metrics.comparison import not_separable
    from ial_bench.metrics.intervals import LEVEL

    dataset = rows[0][0].dataset.name
    try:
        places = outcomes.truth(rows[0][0]).places
    except DataError:
        why = f"no ground truth beside the results; `bench score --dataset {dataset}` writes it, where the dataset is"
        return frozenset(), untold + why
    if len(np.unique(places)) < 2:
        return frozenset(), f"{untold}all queries are of one place"
    columns = []
    for runs in rows:
        try:
            found = [outcomes.of(run).values for run in runs]
        except DataError:
            method = runs[0].method.name
            again = f"`bench run --dataset {dataset} --methods {method} --rerun`"
            return frozenset(), f"{untold}answers of {method} are missing or changed; {again} makes them anew"
        known = [values for values in found if values is not None]
        if len(known) < len(runs):
            return frozenset(), f"{untold}{name} is no mean over queries, or the stored answers are too short for it"
        columns.append(np.mean(known, axis=0))
    values = np.stack(columns, axis=1)
    best = int(values.mean(axis=0).argmax())
    tied = frozenset(not_separable(values, places)) - {best}
    level = f"{100 * (1 - LEVEL):.0f} % level"
    what = (
        f"the best in {name} at the {level} (sign flips of places, corrected for all rows and the choice of the best)"
    )
    return tied, f"†: not separable from {what}" if tied else f"all other rows are separable from {what}"
