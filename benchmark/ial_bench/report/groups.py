"""Which runs make up a row: those on the same photos, joined over seeds, told apart by what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ial_bench.engine.record import PROTOCOL_VERSION, RunRecord
from ial_bench.json_files import digest
from ial_bench.report.differences import FACTS, ORIGIN, PRESET, VERSION, backbone_text, differences, encoder_key
from ial_bench.report.stale import NO_CODE, Code, about_superseded, but_for_contents, by_latest_code
from ial_bench.settings import shown


@dataclass(frozen=True)
class Group:
    """The runs of one method with one configuration: its seeds.

    Attributes:
        runs: at least one.
        backbone: its encoder, in short; untrained weights are said so.
        differences: what tells it from the method's other groups: settings and their values as texts, with
            ``preset``, ``version``, ``weights``, ``origin`` and ``code`` where these differ.
    """

    runs: tuple[RunRecord, ...]
    backbone: str
    differences: Mapping[str, str]

    @property
    def title(self) -> str:
        """The method's title, with what tells it from its other groups."""
        told = ", ".join(f"{k} {v}" if k in FACTS else f"{k}={v}" for k, v in self.differences.items())
        return self.runs[0].method.title + (f" ({told})" if told else "")

    def setting(self, key: str) -> str:
        """A setting, or what else may differ, as text; empty where the method has none."""
        method = self.runs[0].method
        if key in self.differences or key not in method.config:
            facts = {PRESET: method.preset or "", VERSION: method.version, ORIGIN: method.origin}
            return self.differences.get(key, facts.get(key, ""))
        return shown(method.config[key])

    @property
    def oracle(self) -> bool:
        """Whether it was told the true positions."""
        return self.runs[0].method.oracle

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.runs[0].method.name


def groups_of(records: Sequence[RunRecord]) -> list[Group]:
    """The groups among finished runs of one population, seeds in order."""
    by_method: dict[str, list[tuple[RunRecord, ...]]] = defaultdict(list)
    for runs in joined(records):
        by_method[runs[0].method.name].append(runs)
    return [
        Group(runs, backbone_text(runs[0].method.backbone), told)
        for siblings in by_method.values()
        for runs, told in zip(siblings, differences([s[0].method for s in siblings]), strict=True)
    ]


def joined(records: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """The runs of each configuration of a method, seeds in order."""
    runs: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for r in records:
        m = r.method
        code = m.source_digest or m.origin
        runs[m.name, m.version, m.settings_digest, encoder_key(m), code].append(r)
    return [tuple(sorted(own, key=lambda r: r.seed)) for own in runs.values()]


def but_for_precision(group: Group) -> tuple[str, ...]:
    """What a row has in common with the same run in another precision of encoding."""
    m = group.runs[0].method
    facts = {} if m.encoder is None else m.encoder.model_dump(exclude={"digest", "precision", "notes"})
    return m.name, m.version, m.settings_digest, digest(facts), m.source_digest or m.origin


def one_population(
    records: Sequence[RunRecord], limit: int | None, code: Code = NO_CODE
) -> tuple[list[RunRecord], list[str]]:
    """Of finished runs those on the same photos, and what to say of the others.

    The same dataset digest, candidates, protocol, k and limit: of several such groups whole runs before limited ones,
    then those of a later protocol, then the latest. Of those that tell the contents of their photos, the ones on the
    same contents as the latest. Of runs that differ by the method's code alone, those of the latest.

    Args:
        records: finished runs on one dataset.
        limit: those limited to so many photos a split; None: any.
        code: that of methods as it is here.
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
    """Of runs on one version of a dataset those whose photos may be the same, and how many of them do not tell.

    Photos are those of the latest run that tells their contents. One that does not stands beside it, unless the same
    run is there that does.
    """
    told = [r for r in runs if r.dataset.contents_digest is not None]
    if not told:
        return runs, 0
    latest = max(told, key=lambda r: r.provenance.finished).dataset.contents_digest
    known = {but_for_contents(r) for r in told if r.dataset.contents_digest == latest}
    same = [
        r for r in runs
        if r.dataset.contents_digest == latest
        or (r.dataset.contents_digest is None and but_for_contents(r) not in known)
    ]  # fmt: skip
    return same, sum(r.dataset.contents_digest is None for r in same)
