"""The report, written: pages and data of every dataset that has results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.engine.scoring import outcomes
from ial_bench.errors import BenchError, DataError
from ial_bench.escape import short
from ial_bench.metrics.accuracy import Areas
from ial_bench.progress import Reporter
from ial_bench.report.answers import Answers
from ial_bench.report.columns import accuracy
from ial_bench.report.leaderboard import DEFAULT_METRICS
from ial_bench.report.site import data
from ial_bench.report.site.data import Comparison, bits, integers, script
from ial_bench.report.site.folder import FOLDER, SiteFolder, Thumbnails, chosen, site_folder, thumbnail_name
from ial_bench.report.site.pages import Share, assets, check_installed, page_of, render, run_values, shares
from ial_bench.report.site.source import Run, Source, gather

MOST_THUMBNAILS = 5_000
_MOST_SAID = 3  # photos without thumbnail that are named


@dataclass(frozen=True)
class Options:
    """What goes into a report.

    Attributes:
        results: folder of results.
        home: the data home.
        limit: show runs with this limit of photos a split.
        thumbnails: the most per dataset, spread evenly over its queries; None: all.
    """

    results: Path
    home: Path | None = None
    limit: int | None = None
    thumbnails: int | None = MOST_THUMBNAILS


def build(out: Path, datasets: Sequence[str], options: Options, report: Reporter) -> tuple[list[Source], list[str]]:
    """Write the report. The same records, photos and installed plugins give the same files, byte for byte.

    Args:
        out: folder to write, new or of an earlier report.
        datasets: names, each with a folder of results.
        options: what goes in.
        report: shows progress.

    Returns:
        The datasets' parts, and what could not be read and is left out.

    Raises:
        ConfigError: `out` holds something else, or jinja2 is not installed.
        StorageError: `out` cannot be written to, or a link leads out of it.
    """
    check_installed()
    sources, sections, problems = [], [], []
    with site_folder(out, report.log) as folder:
        for name in datasets:
            source = gather(options.results, name, options.home, options.limit)
            part = _Part(folder, source, options, report)
            sections.append(part.write())
            sources.append(source)
            problems += [*source.problems, *part.problems]
        for name, content in assets().items():
            folder.write(f"assets/{name}", content)
        shown = [_without_folders(p, options.results) for p in problems]
        folder.write("index.html", render("index", root="", here="index", sections=sections, problems=shown))
    return sources, problems


def photos_script(key: str, why: str, there: dict[str, Any] | None = None, *, everything: bool = False) -> str:
    """``photos.js``: which queries have a thumbnail, and the text in place of the others.

    Args:
        key: of the ground truth.
        why: what is said.
        there: truth values, packed; None: none has one.
        everything: all have one, or get one when it is asked for.
    """
    return script("photos", {"folder": f"{FOLDER}/{key}", "bits": there, "all": everything, "why": why})


def _without_folders(problem: str, results: Path) -> str:
    """A problem as the report shows it: without folders of this machine, because reports are passed on."""
    for folder in (results.resolve(), results, Path.home()):
        problem = problem.replace(f"{folder}/", "")
    return problem


class _Part:
    """Writes one dataset's part.

    Attributes:
        problems: what could not be read and is left out.
    """

    def __init__(self, folder: SiteFolder, source: Source, options: Options, report: Reporter) -> None:
        self.problems: list[str] = []
        self._folder, self._source, self._options, self._report = folder, source, options, report
        self._base = f"datasets/{source.folder}"
        self._breakdowns: dict[str, tuple[list[Share], list[Share]]] = {}
        self._unread: dict[str, str] = {}

    def write(self) -> dict[str, Any]:
        """Write data and pages; returns what the first page shows of them."""
        source = self._source
        place = {
            "name": source.name, "folder": source.folder, "answers": source.answers is not None, "notes": source.notes
        }  # fmt: skip
        if source.answers is not None:
            self._write_data(source.answers)
            for page in ("queries", "map", "compare"):
                content = render(page, root="../../", up="", here=page, place=place)
                self._folder.write(f"{self._base}/{page}.html", content)
        labels = {run.record.run_id: run.label for run in source.runs}
        for record in source.records:
            values = run_values(
                record, labels.get(record.run_id, short(record.method.title)), self._breakdowns.get(record.run_id),
                self._unread.get(record.run_id, ""),
            )  # fmt: skip
            content = render("run", root="../../../", up="../", here="run", place=place, **values)
            self._folder.write(f"{self._base}/{page_of(record)}", content)
        pages = {r.run_id: {"page": f"{self._base}/{page_of(r)}", "seed": r.seed} for r in source.records}
        return {
            "place": place, "columns": source.board.columns(), "bodies": source.board.bodies(pages),
            "table_notes": source.board.table.notes,
            "runs": [
                {"record": r, "page": pages[r.run_id]["page"], "ssa1": accuracy(r, "SSA-1")} for r in source.records
            ],
        }  # fmt: skip

    def _write_data(self, answers: Answers) -> None:
        source, truth = self._source, answers.truth
        areas = Areas.of(truth.addresses)
        self._put("where", {"address": integers(truth.address_rows)})
        self._put("points", data.points_data(truth))
        lines = self._lines()
        if lines is not None:
            self._put("lines", lines)
        for i, chunk in enumerate(data.query_chunks(truth)):
            self._put(f"queries-{i}", chunk)
        comparison = Comparison(source.groups, DEFAULT_METRICS)
        written: list[dict[str, Any]] = []
        with self._report.track(len(source.runs), f"{source.name}: answers", "runs") as advance:
            for run in source.runs:
                written += self._write_run(run, answers, areas, comparison)
                advance()
        runs_of = [sum(w["group"] == g for w in written) for g in range(len(source.groups))]
        whole = {g for g, group in enumerate(source.groups) if runs_of[g] == len(group.runs)}
        self._put("compare", comparison.data(truth, areas, whole))
        self._put(
            "index",
            {
                "queries": len(truth), "chunk": data.CHUNK, "hasLines": lines is not None, "runs": written,
                "addresses": data.addresses_data(truth, areas),
            },
        )  # fmt: skip
        self._write_photos()

    def _write_run(self, run: Run, answers: Answers, areas: Areas, comparison: Comparison) -> list[dict[str, Any]]:
        """Write one run's data; returns its entry in ``index.js``, nothing where its answers cannot be read."""
        truth, record = answers.truth, run.record
        try:
            top = answers.top(record)
        except DataError as error:
            self.problems.append(f"answers not read: {error}")
            self._unread[record.run_id] = "Its answers are not shown: they are missing, damaged or changed."
            return []
        names, values, _ = outcomes(top, truth)
        comparison.add(run, names, values)
        right, street = (values[:, names.index(m)] for m in ("SSA-1", "SA-1"))
        self._breakdowns[record.run_id] = shares(areas, truth.address_rows, right, street)
        self._put(f"outcome-{run.number}", {"outcome": integers(data.outcomes_of(top, truth, areas))})
        self._put(f"first-{run.number}", {"first": integers(top.indices[:, 0])})
        for i, chunk in enumerate(data.answer_chunks(top)):
            self._put(f"answers-{run.number}-{i}", chunk)
        return [
            {
                "number": run.number, "id": record.run_id, "label": run.label, "group": run.group,
                "oracle": record.method.oracle, "page": page_of(record), "right": float(right.mean()),
                "shown": min(data.SHOWN, top.indices.shape[1]),
            }
        ]  # fmt: skip

    def _lines(self) -> dict[str, Any] | None:
        """The street network, None where the dataset has none or it cannot be read."""
        dataset = self._source.dataset
        try:
            lines = None if dataset is None else dataset.streets
        except BenchError as error:
            self.problems.append(f"{self._source.name}: no streets are shown: {error}")
            return None
        return None if lines is None else data.lines_data(lines)

    def _write_photos(self) -> None:
        source = self._source
        name = f"{self._base}/data/photos.js"
        if source.queries is None:
            self._folder.write(name, photos_script(source.key, "no photo: the dataset was not at hand"))
            return
        thumbnails = Thumbnails(self._folder.path / self._base, source.key, source.queries)
        bad = thumbnails.make_all(chosen(len(source.queries), self._options.thumbnails), self._report, source.name)
        for problem in bad[:_MOST_SAID]:
            self._report.log(f"no thumbnail: {problem}")
        if len(bad) > _MOST_SAID:
            self._report.log(f"no thumbnail of {len(bad) - _MOST_SAID:,} other photos")
        there = np.zeros(len(source.queries), dtype=bool)
        for i in thumbnails.there():
            there[i] = True
            self._folder.keep(f"{self._base}/{thumbnail_name(source.key, i)}")
        self._folder.write(name, photos_script(source.key, "no thumbnail in this report", bits(there)))

    def _put(self, key: str, value: Any) -> None:
        self._folder.write(f"{self._base}/data/{key}.js", script(key, value))
