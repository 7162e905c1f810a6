"""What a plan costs: the bill before it (`bench run --dry-run`), and the time left while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ial_bench.cli.console import print_json, print_rows
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import provenance
from ial_bench.engine.bill import Bill, Line, in_bytes, in_time
from ial_bench.engine.estimate import Estimator
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.identity import RunSpec
from ial_bench.engine.past_runs import Past, kind, wall_seconds
from ial_bench.engine.plan import EngineOptions, Planned
from ial_bench.engine.prices import Probe, probe, reference
from ial_bench.engine.record import RunRecord
from ial_bench.machine import Room
from ial_bench.progress import Reporter
from ial_bench.settings import changes_text

Plans = Sequence[tuple[Dataset, list[Planned]]]
_STATES = {"run": "to run", "done": "done", "skip": "skipped"}


def bill_of(
    plans: Plans, options: EngineOptions, store: FeatureStore, report: Reporter, stored: Sequence[RunRecord], *,
    times: bool,
) -> Bill:  # fmt: skip
    """The bill of a plan.

    Args:
        plans: the datasets and their runs.
        options: where and how.
        store: encoders and features.
        report: notes.
        stored: records of the results folder.
        times: whether times are wanted; without them this machine is not probed.

    Raises:
        StorageError: the cache cannot be written to.
    """

    def probed() -> Probe:
        return probe(options.device, options.cache) if times else Probe(**reference()["probe"])

    past = Past(stored, provenance.hardware_digest(provenance.hardware(options.device)))
    estimator = Estimator(options, store, report, past, probed)
    costs = [cost for data, todo in plans for cost in estimator.costs(data, todo)]
    return Bill.of(costs, Room.here(options.cache, options.results, options.device))


def show_bill(bill: Bill, as_json: bool) -> None:
    """Print the plan with what each run takes, then the sums."""
    rows = [_row(line) for line in bill.lines]
    if as_json:
        print_json({"runs": rows, "total": bill.as_dict()})
        return
    headers = ["method", "settings", "dataset", "seed", "state", "time", "peak memory", "disk", "from"]
    print_rows(headers, [_cells(line, row) for line, row in zip(bill.lines, rows, strict=True)])
    for text in _sums(bill):
        print(text)


def _row(line: Line) -> dict[str, Any]:
    run, planned = line.run, line.run.planned
    memory, to_run = run.memory, planned.state == "run"
    return {
        "dataset": run.dataset,
        "method": planned.spec.method,
        "seed": planned.spec.seed,
        "run_id": planned.spec.run_id,
        "state": planned.state,
        "resumes": run.resumes,
        "settings": changes_text(planned.method, planned.config),
        "reason": planned.reason,
        "seconds": line.seconds if to_run else 0.0,
        "memory_bytes": None if memory is None else round(memory.host),
        "device_memory_bytes": round(memory.device) if memory is not None and memory.device else None,
        "disk_bytes": round(line.disk),
        "from": line.source,
        "memory_from": run.memory_source,
        "terms": [
            {"what": t.what, "seconds": t.seconds, "from": t.source, "disk_bytes": round(t.disk), "shared": t.shared}
            for t in line.own
        ],
    }


def _cells(line: Line, row: dict[str, Any]) -> list[str]:
    state = "resumes" if row["resumes"] else _STATES[row["state"]]
    named = [row["method"], row["settings"], row["dataset"], str(row["seed"]), state]
    if row["state"] != "run":
        return [*named, "", "", "", row["reason"] or ""]
    memory = "unknown" if row["memory_bytes"] is None else in_bytes(row["memory_bytes"])
    time = "unknown" if line.seconds is None else in_time(line.seconds)
    return [*named, time, memory, in_bytes(line.disk), row["from"]]


def _sums(bill: Bill) -> list[str]:
    unknown = len(bill.unknown)
    and_so = f", and {unknown} {'run' if unknown == 1 else 'runs'} of unknown time" if unknown else ""
    sums = [f"time: {in_time(bill.seconds) if bill.seconds else 'none'}{and_so}"]
    if bill.largest is not None and bill.largest.seconds:
        sums[0] += f"; the largest term: {bill.largest.what}, {in_time(bill.largest.seconds)}"
    for what, found, free in (
        ("memory", bill.memory and (bill.memory[0], bill.memory[1].host), bill.room.memory),
        ("GPU memory", bill.device_memory and (bill.device_memory[0], bill.device_memory[1].device), bill.room.device),
    ):
        if found:
            left = "" if free is None else f"; {in_bytes(free)} are free"
            sums.append(f"{what}: {in_bytes(found[1])} at the peak, by {found[0].run.planned.spec.method}{left}")
    room = bill.room
    if room.one_disk:
        sums.append(
            f"disk: {in_bytes(bill.cache)} in the cache and {in_bytes(bill.results)} in results; "
            f"{in_bytes(room.cache)} are free"
        )
    else:
        sums.append(f"disk: {in_bytes(bill.cache)} in the cache; {in_bytes(room.cache)} are free")
        sums.append(f"disk: {in_bytes(bill.results)} in results; {in_bytes(room.results)} are free")
    return [*sums, *(f"NOT ENOUGH {text}" for text in bill.short())]


def tell_shortage(bill: Bill, cache: Path, report: Reporter) -> None:
    """Refuse a plan that the disk cannot hold, and note what may not suffice.

    Raises:
        StorageError: the disk is too small in any case.
    """
    bill.refuse(cache)
    for text in bill.short():
        report.log(f"note: perhaps not enough {text}")


class TimeLeft:
    """An estimate of the time that the rest of a plan takes.

    A run is expected to last as long as others of its method and settings, with any seed, on the same photos and
    hardware. Where there are none, nothing is guessed: one method's time says little about another's. Encoding photos
    is left out: it is done once for all, and shows its own time left.

    Args:
        todo: the whole plan, in order.
        earlier: finished runs, of any dataset.
        hardware_digest: of this machine; the times of other machines do not count.
    """

    def __init__(self, todo: Iterable[Planned], earlier: Iterable[RunRecord], hardware_digest: str) -> None:
        self._ahead = [p.spec for p in todo if p.state == "run"]
        self._known: dict[str, list[float]] = {}
        for record in earlier:
            if record.status == "done" and record.provenance.hardware_digest == hardware_digest:
                self._known.setdefault(kind(RunSpec.of(record)), []).append(_seconds(record))

    def ended(self, spec: RunSpec, record: RunRecord) -> str:
        """What is left now that a run has ended; empty where at most one run is left."""
        self._ahead = [s for s in self._ahead if s != spec]
        if record.status == "done":
            self._known.setdefault(kind(spec), []).append(_seconds(record))
        if len(self._ahead) < 2:
            return ""
        known = [_mean(self._known[of]) for s in self._ahead if (of := kind(s)) in self._known]
        left = f"{len(self._ahead)} runs left"
        if not known:
            return left
        if len(known) == len(self._ahead):
            return f"{left}, about {_in_words(sum(known))}"
        return f"{left}, {len(known)} of them about {_in_words(sum(known))}; the rest was never timed here"


def _seconds(record: RunRecord) -> float:
    """Seconds from start to end without encoding; for a run that resumed, at least the phases it took over."""
    seconds, phases = wall_seconds(record), record.phases
    return seconds if phases is None else max(seconds, phases.fit.seconds + phases.index.seconds)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
