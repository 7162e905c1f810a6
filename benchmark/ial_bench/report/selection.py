"""Which runs are shown: those on the same photos of one dataset, of a protocol and of the latest code.

Tables, comparisons, analyses, pictures, packs and pages all choose here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ial_bench.engine.record import PROTOCOL_VERSION, RunRecord
from ial_bench.engine.records import datasets_with_results, records
from ial_bench.errors import ConfigError, DataError, unknown_name
from ial_bench.report.answers import Answers
from ial_bench.report.groups import Group, groups_of, joined
from ial_bench.report.stale import NO_CODE, Code, about_superseded, but_for_contents, by_latest_code, installed_code


def finished(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The records of runs that ended well and were scored."""
    return [r for r in records if r.status == "done" and r.metrics]


def read_records(results: Path, dataset: str) -> tuple[list[RunRecord], list[str]]:
    """A dataset's records, and notes on those that cannot be read."""
    read = [record for _, record in records(results, dataset)]
    return (
        [record for record in read if not isinstance(record, DataError)],
        [f"not read: {error}" for error in read if isinstance(error, DataError)],
    )


def one_population(
    records: Sequence[RunRecord], limit: int | None, code: Code = NO_CODE
) -> tuple[list[RunRecord], list[str]]:
    """The finished runs on the same photos, and notes on the others.

    They have the same dataset digest, candidates, protocol, k and limit. Of several such groups whole runs come before
    limited ones, then those of a later protocol, then the latest. Of those that record the contents of their photos,
    the ones on the same contents as the latest are kept, and of runs that differ only by the method's code those of the
    latest.

    Args:
        records: finished runs on one dataset.
        limit: of photos a split that runs have; None: any.
        code: of the methods as they are here.
    """
    groups: dict[tuple[Any, ...], list[RunRecord]] = defaultdict(list)
    for r in records:
        groups[r.dataset.digest, r.dataset.candidate_digest, r.dataset.limit, r.protocol_version, r.k].append(r)
    wanted = [key for key in groups if limit is None or key[2] == limit]
    if not wanted:
        return [], [] if limit is None else [f"no runs are limited to {limit:,} photos a split"]
    chosen = max(wanted, key=lambda key: (key[2] is None, key[3], max(r.provenance.finished for r in groups[key])))
    same, untold = _on_same_contents(groups[chosen])
    others = len(records) - len(same)
    notes = []
    if chosen[2] is not None:
        notes.append(f"limited to {chosen[2]:,} photos a split: for a quick look, not a result")
    if others:
        runs = "run is" if others == 1 else "runs are"
        why = "another version of the dataset or its photos, another limit, k or protocol"
        notes.append(f"{others:,} other {runs} left out: {why}")
    if any(key[3] < PROTOCOL_VERSION for key in groups):
        scored = f"`bench score --dataset {records[0].dataset.name}` brings them along, where the dataset is"
        notes.append(f"some runs were measured under an earlier version of the protocol: {scored}")
    if untold:
        runs = "run does" if untold == 1 else "runs do"
        notes.append(f"{untold:,} {runs} not tell the contents of the photos; that they are the same is taken as told")
    current, superseded = by_latest_code(same, code)
    return current, [*notes, *about_superseded(superseded)]


def _on_same_contents(runs: list[RunRecord]) -> tuple[list[RunRecord], int]:
    """The runs on one version of a dataset whose photos may be the same, and how many of them do not record contents.

    Photos are those of the latest run that records their contents. A run that does not is kept, unless the same run is
    there with contents.
    """
    known = [r for r in runs if r.dataset.contents_digest is not None]
    if not known:
        return runs, 0
    latest = max(known, key=lambda r: r.provenance.finished).dataset.contents_digest
    again = {but_for_contents(r) for r in known if r.dataset.contents_digest == latest}
    same = [
        r for r in runs
        if r.dataset.contents_digest == latest
        or (r.dataset.contents_digest is None and but_for_contents(r) not in again)
    ]  # fmt: skip
    return same, sum(r.dataset.contents_digest is None for r in same)


@dataclass(frozen=True)
class Population:
    """The runs on the same photos of one dataset.

    Attributes:
        dataset: its name.
        done: the runs.
        others: those of the dataset that have no metrics: skipped, failed.
        notes: on runs of other photos.
        hardware: digest of the machine that most rows were timed on, None where none was.
    """

    dataset: str
    done: tuple[RunRecord, ...]
    others: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    hardware: str | None

    @classmethod
    def among(cls, records: Sequence[RunRecord], dataset: str, limit: int | None, code: Code = NO_CODE) -> Population:
        """The population of `dataset` that is shown.

        Args:
            records: any.
            dataset: name.
            limit: photos a split; None: any.
            code: of the methods as they are here.
        """
        own = [r for r in records if r.dataset.name == dataset]
        done, notes = one_population(finished(own), limit, code)
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
        """The runs of a group whose times may be averaged: on the table's machine, else on their latest one."""
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


@dataclass(frozen=True)
class Selected:
    """Runs on one population of queries.

    Attributes:
        results: folder of results.
        dataset: name.
        groups: in the order asked for; if none were named, all, the best by `metric` first.
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
        read, notes = read_records(results, name)
        population, others = one_population(finished(read), limit, installed_code())
        notes += others
        if not population:
            raise DataError("; ".join([f"no finished runs on {name!r}", *notes]), "`bench run` makes some")
        every = groups_of(population)
        if methods:
            groups = [select_group(every, m) for m in methods]
        else:
            groups = sorted(every, key=lambda g: (g.oracle, -accuracy(g, metric), g.runs[0].run_id))
        if len({g.runs[0].run_id for g in groups}) < len(groups):
            raise DataError("two of the methods named are the same runs", "name each once")
        return cls(results, name, tuple(groups), tuple(notes))

    @cached_property
    def answers(self) -> Answers:
        """Their stored answers and the truth.

        Raises:
            DataError: the ground truth is missing or damaged.
        """
        return Answers.of(self.results, self.groups[0].runs[0])

    @property
    def titles(self) -> list[str]:
        """The groups' titles, with a run's id where they are the same."""
        shown = [g.title for g in self.groups]
        ids = [g.runs[0].run_id for g in self.groups]
        return [t if shown.count(t) == 1 else f"{t} ({run})" for t, run in zip(shown, ids, strict=True)]

    @property
    def seed_notes(self) -> list[str]:
        """A note where several seeds are shown as one."""
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


def select_group(groups: Sequence[Group], text: str) -> Group:
    """The group of a method's name or a run's id.

    Raises:
        UnknownNameError: none.
        DataError: a method with several configurations.
    """
    for group in groups:
        if any(text == run.run_id for run in group.runs):
            return group
    named = [group for group in groups if group.method == text]
    if len(named) == 1:
        return named[0]
    if named:
        listed = "; ".join(f"{g.runs[0].run_id}: {g.title}, {g.backbone}" for g in named)
        raise DataError(f"{text} was run with {len(named)} configurations", f"name a run instead: {listed}")
    names = sorted({group.method for group in groups})
    raise unknown_name("method with finished runs", text, names, f"there are {', '.join(names)}")


def contenders(groups: Iterable[Group]) -> list[Group]:
    """The groups that compete: all but oracles, which know the true positions."""
    return [g for g in groups if not g.oracle]
