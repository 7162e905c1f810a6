"""The runs that an analysis or a picture is about: those of some methods, on the same photos of one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import datasets_with_results, records
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.report.answers import Answers, select_group
from ial_bench.report.groups import Group, groups_of, one_population
from ial_bench.report.stale import installed_code


@dataclass(frozen=True)
class Selected:
    """Runs on one population of queries.

    Attributes:
        results: folder of results.
        dataset: name.
        groups: in the order asked for; where none were, all, the best by `metric` first.
        notes: what was left out, and why.
    """

    results: Path
    dataset: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @classmethod
    def among(
        cls, results: Path, dataset: str | None, methods: Sequence[str], limit: int | None, metric: str = "SSA-1"
    ) -> Selected:
        """The runs of methods, or of all of them.

        Args:
            results: folder of results.
            dataset: name; None: the only one with results.
            methods: names of methods or ids of runs; none: all.
            limit: of the runs, photos a split; None: any.
            metric: what all methods are ordered by.

        Raises:
            DataError: no finished runs, or a method named twice.
            ConfigError: several datasets and none asked for.
            UnknownNameError: no such dataset or method.
        """
        name = chosen_dataset(results, dataset)
        read = [record for _, record in records(results, name)]
        notes = [f"not read: {r}" for r in read if isinstance(r, DataError)]
        done = [r for r in read if not isinstance(r, DataError) and r.status == "done" and r.metrics]
        population, others = one_population(done, limit, installed_code())
        if not population:
            raise DataError("; ".join([f"no finished runs on {name!r}", *notes, *others]), "`bench run` makes some")
        every = groups_of(population)
        if methods:
            groups = [select_group(every, m) for m in methods]
        else:
            groups = sorted(every, key=lambda g: (g.oracle, -accuracy(g, metric), g.runs[0].run_id))
        if len({g.runs[0].run_id for g in groups}) < len(groups):
            raise DataError("two of the methods named are the same runs", "name each once")
        return cls(results, name, tuple(groups), (*notes, *others))

    @cached_property
    def answers(self) -> Answers:
        """Their stored answers and the truth.

        Raises:
            DataError: the ground truth is missing or damaged.
        """
        return Answers.of(self.results, self.groups[0].runs[0])

    @property
    def seed_notes(self) -> list[str]:
        """What is said where several seeds are shown as one."""
        several = any(len(g.runs) > 1 for g in self.groups)
        return ["seeds are averaged query by query; the intervals are of places, not of seeds"] if several else []


def accuracy(group: Group, metric: str) -> float:
    """Mean over seeds of a stored accuracy; 0 where it was not measured."""
    measured = [r.metrics.accuracy[metric].value for r in group.runs if r.metrics and metric in r.metrics.accuracy]
    return sum(measured) / len(measured) if measured else 0.0


def chosen_dataset(results: Path, dataset: str | None) -> str:
    """The dataset asked for, or the only one with results.

    Raises:
        DataError: no results.
        ConfigError: several datasets and none asked for.
        UnknownNameError: it has no results.
    """
    known = datasets_with_results(results)
    if not known:
        raise DataError(f"no results in {results}", "`bench run` makes some; --results names another folder")
    if dataset is None and len(known) > 1:
        raise ConfigError(f"there are results of {', '.join(known)}", f"choose one: --dataset {known[0]}")
    if dataset is not None and dataset not in known:
        raise unknown_name("dataset with results", dataset, known, f"results in {results}: {', '.join(known)}")
    return dataset or known[0]


def runs_of(groups: Sequence[Group]) -> list[RunRecord]:
    """The runs of all groups, in order."""
    return [run for group in groups for run in group.runs]
