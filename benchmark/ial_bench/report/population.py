"""The runs on the same photos of one dataset, which a table may compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ial_bench.engine.record import RunRecord
from ial_bench.report.groups import Group, joined, one_population
from ial_bench.report.stale import NO_CODE, Code


@dataclass(frozen=True)
class Population:
    """The runs on the same photos of one dataset.

    Attributes:
        dataset: its name.
        done: the runs.
        others: those of the dataset that have no metrics: skipped, failed.
        notes: what is said of runs on other photos.
        hardware: digest of the machine that most rows were timed on, None where none was.
    """

    dataset: str
    done: tuple[RunRecord, ...]
    others: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    hardware: str | None

    @classmethod
    def among(cls, records: Sequence[RunRecord], dataset: str, limit: int | None, code: Code = NO_CODE) -> Population:
        """The one of `dataset` that is shown.

        Args:
            records: any.
            dataset: name.
            limit: photos a split; None: any.
            code: that of methods as it is here.
        """
        own = [r for r in records if r.dataset.name == dataset]
        done, notes = one_population([r for r in own if r.status == "done" and r.metrics], limit, code)
        others = tuple(r for r in own if r.status != "done")
        timed = Counter(m for runs in joined(done) for m in sorted({m for m in map(timed_on, runs) if m}))
        return cls(dataset, tuple(done), others, tuple(notes), max(timed, key=lambda m: timed[m]) if timed else None)

    def of(self, group: Group) -> list[RunRecord]:
        """A group's runs among these."""
        return [r for r in group.runs if r.dataset.name == self.dataset]

    def varied(self, group: Group) -> bool:
        """Whether a group's runs differ by chance."""
        runs = self.of(group)
        return len(runs) > 1 and runs[0].method.stochastic

    def timed(self, group: Group) -> list[RunRecord]:
        """Those of a group's runs whose times may be averaged: on the table's machine, else on their latest one."""
        runs = sorted(self.of(group), key=lambda r: r.provenance.finished)
        machines = [m for r in runs if (m := timed_on(r))]
        if not machines:
            return runs
        wanted = self.hardware if self.hardware in machines else machines[-1]
        return [r for r in runs if timed_on(r) == wanted]

    def machines(self, groups: Sequence[Group]) -> list[RunRecord]:
        """A run for each machine that the groups' times come from."""
        found = {r.provenance.hardware_digest: r for g in groups for r in self.timed(g) if timed_on(r)}
        return list(found.values())


def timed_on(run: RunRecord) -> str | None:
    """Digest of the machine that a run's latency was measured on, None where it was not measured."""
    return run.provenance.hardware_digest if run.phases and run.phases.query else None
