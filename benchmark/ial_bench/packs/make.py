"""Results put into a pack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ial_bench
from ial_bench.errors import DataError
from ial_bench.packs.file import Manifest, Pack, packed_answers, packed_record, write_pack
from ial_bench.report.selected import Selected, runs_of

LICENCE = "CC-BY-4.0"


def make_pack(
    results: Path,
    dataset: str | None,
    methods: Sequence[str],
    out: Path,
    limit: int | None = None,
    licence: str = LICENCE,
    contact: str | None = None,
) -> tuple[Pack, tuple[str, ...]]:
    """Pack the finished runs of one dataset.

    Args:
        results: folder of results.
        dataset: name; None: the only one with results.
        methods: names or ids of runs; none: all.
        out: file to write.
        limit: of the runs, photos a split; None: any.
        licence: under which the results are given.
        contact: who to ask.

    Returns:
        The pack, and what was left out and why.

    Raises:
        DataError: no finished runs, answers that are missing or changed, or results that were themselves passed on
            without positions.
        ConfigError: several datasets and none asked for.
        StorageError: `out` cannot be written.
        UnknownNameError: no such dataset or method.
    """
    selected = Selected.among(results, dataset, methods, limit)
    answers = selected.answers
    if not answers.truth.has_positions:
        raise DataError(
            f"the results of {selected.dataset!r} were passed on without positions", "pack them where they were run"
        )
    runs = {}
    for record in runs_of(selected.groups):
        packed = packed_answers(answers.top(record))
        runs[record.run_id] = (packed_record(record, packed), packed)
    about = selected.groups[0].runs[0].dataset
    pack = write_pack(
        out,
        lambda sums: Manifest(
            dataset=about.name, dataset_digest=about.digest, candidate_digest=about.candidate_digest, limit=about.limit,
            ground_truth=answers.truth.digest, runs=dict(sums), licence=licence, contact=contact,
            made_with=ial_bench.__version__,
        ),
        runs,
    )  # fmt: skip
    return pack, selected.notes
