"""Which runs make up a row: those on the same photos, joined over seeds, told apart by what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.engine.record import PROTOCOL_VERSION, EncoderRecord, MethodRecord, RunRecord
from ial_bench.errors import ConfigError
from ial_bench.files import digest
from ial_bench.report.stale import NO_CODE, Code, about_superseded, by_latest_code
from ial_bench.settings import BACKBONE, shown

PRESET, VERSION, WEIGHTS, ORIGIN, CODE = "preset", "version", "weights", "origin", "code"
PRECISION, LIBRARIES, NETWORK = "precision", "libraries", "network"
"""What tells rows of one method apart and is no setting."""
FACTS = (PRESET, VERSION, WEIGHTS, ORIGIN, CODE, PRECISION, LIBRARIES, NETWORK)
_ABSENT = object()
_SHOWN_DIGITS = 8  # of a digest


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
    runs: dict[tuple[str, ...], list[RunRecord]] = defaultdict(list)
    for r in records:
        m = r.method
        code = m.source_digest or m.origin
        runs[m.name, m.version, digest(settings_of(m)), encoder_key(m), code].append(r)
    by_method: dict[str, list[list[RunRecord]]] = defaultdict(list)
    for group in runs.values():
        by_method[group[0].method.name].append(sorted(group, key=lambda r: r.seed))
    return [
        Group(tuple(group), backbone_text(group[0].method.backbone), _differences(group, siblings))
        for siblings in by_method.values()
        for group in siblings
    ]


def encoder_key(method: MethodRecord) -> str:
    """What runs of one encoder have in common, whatever they called it; by its name, where a record knows no more."""
    if method.encoder is not None:
        return method.encoder.digest
    return "" if method.weights_digest is None else f"{method.backbone} {method.weights_digest}"


def settings_of(method: MethodRecord) -> dict[str, Any]:
    """A configuration without the encoder's name, which stands for `encoder_key`."""
    return {key: value for key, value in method.config.items() if key != BACKBONE}


def but_for_precision(group: Group) -> tuple[str, ...]:
    """What a row has in common with the same run in another precision of encoding."""
    m = group.runs[0].method
    facts = {} if m.encoder is None else m.encoder.model_dump(exclude={"digest", "precision", "notes"})
    return m.name, m.version, digest(settings_of(m)), digest(facts), m.source_digest or m.origin


def one_population(
    records: Sequence[RunRecord], limit: int | None, code: Code = NO_CODE
) -> tuple[list[RunRecord], list[str]]:
    """Of finished runs those on the same photos, and what to say of the others.

    The same dataset digest, candidates, protocol, k and limit: of several such groups whole runs before limited ones,
    then those of a later protocol, then the latest. Of runs that differ by the method's code alone, those of the
    latest.

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
    others = len(records) - len(groups[chosen])
    notes = []
    if chosen[2] is not None:
        notes.append(f"limited to {chosen[2]:,} photos a split: for a quick look, not a result")
    if others:
        runs = "run is" if others == 1 else "runs are"
        why = "another version of the dataset, another limit, k or protocol"
        notes.append(f"{others:,} other {runs} left out: {why}")
    if any(key[3] < PROTOCOL_VERSION for key in groups):
        scored = f"`bench score --dataset {records[0].dataset.name}` brings them along, where the dataset is"
        notes.append(f"some runs were measured under an earlier version of the protocol: {scored}")
    current, superseded = by_latest_code(groups[chosen], code)
    return current, [*notes, *about_superseded(superseded)]


def _differences(runs: list[RunRecord], siblings: list[list[RunRecord]]) -> dict[str, str]:
    """What tells a row's configuration from the method's other rows: of a namesake from elsewhere, where it is from."""
    if len(siblings) == 1:
        return {}
    mine, every = runs[0].method, [s[0].method for s in siblings]
    others = [m for m in every if m.origin == mine.origin]
    found = {PRESET: mine.preset} if mine.preset and any(m.preset != mine.preset for m in others) else {}
    found |= {
        key: shown(value)
        for key, value in sorted(mine.config.items())
        if key != BACKBONE and any(key in _compared(mine, m) and m.config.get(key, _ABSENT) != value for m in others)
    }
    if any(m.version != mine.version for m in others):
        found[VERSION] = mine.version
    if len(others) < len(every):
        found[ORIGIN] = mine.origin
    if any(m.source_digest != mine.source_digest for m in others):
        found[CODE] = (mine.source_digest or "unknown")[:_SHOWN_DIGITS]
    # The backbone has a column of its own, which names a checkpoint by its file name alone.
    look_alikes = [m for m in others if backbone_text(m.backbone) == backbone_text(mine.backbone)]
    if mine.backbone and any(m.backbone != mine.backbone for m in look_alikes):
        found[BACKBONE] = mine.backbone
    unlike = [m for m in look_alikes if encoder_key(m) != encoder_key(mine)]
    return found | (_of_encoder(mine, unlike) if unlike else {})


def _of_encoder(mine: MethodRecord, others: Sequence[MethodRecord]) -> dict[str, str]:
    """What tells an encoder from others of its name."""
    own = mine.encoder
    if own is None:
        differ = any(m.weights_digest != mine.weights_digest for m in others)
        return {WEIGHTS: (mine.weights_digest or "")[:_SHOWN_DIGITS]} if differ else {}
    known = [m.encoder for m in others if m.encoder is not None]
    found = {}
    if len(known) < len(others) or any(e.weights != own.weights for e in known):
        found[WEIGHTS] = own.weights[:_SHOWN_DIGITS]
    if any(e.precision != own.precision for e in known):
        found[PRECISION] = own.precision
    if any(e.libraries != own.libraries for e in known):
        found[LIBRARIES] = " ".join(f"{name} {number}" for name, number in own.libraries.items())
    if any(_network(e) != _network(own) for e in known):
        found[NETWORK] = digest(_network(own))[:_SHOWN_DIGITS]
    return found


def _network(encoder: EncoderRecord) -> dict[str, Any]:
    return encoder.model_dump(include={"structure", "preprocessing", "head", "texts"})


def _compared(a: MethodRecord, b: MethodRecord) -> set[str]:
    """The settings in which rows may differ: those of one preset in all, others in what was changed on top."""
    return {*a.config, *b.config} if a.preset == b.preset else {*a.changed, *b.changed}


def encoder_of(spec: str) -> EncoderSpec | None:
    """None for one of a library that only a later ial-bench knows: its records are shown all the same."""
    try:
        return EncoderSpec.parse(spec)
    except ConfigError:
        return None


def backbone_text(spec: str | None) -> str:
    """An encoder in short: its network and weights; empty for none."""
    if spec is None:
        return ""
    parsed = encoder_of(spec)
    if parsed is None:
        return spec
    model = parsed.network.rsplit("/", 1)[-1].removesuffix(".json")
    if parsed.random_init:
        return f"{model} ({RANDOM_INIT}: untrained)"
    file = parsed.weights_file
    return f"{model} ({file.name if file else parsed.weights})" if parsed.weights else model
