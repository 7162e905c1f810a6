"""Which runs make up a row, and how rows of one method differ.

A row has the runs of one configuration of a method, joined over seeds. Rows differ by settings, and by facts that are
no settings, such as the method's origin or its encoder.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ial_bench.encoders.spec import RANDOM_INIT, EncoderSpec
from ial_bench.engine.record import EncoderRecord, MethodRecord, RunRecord
from ial_bench.errors import ConfigError
from ial_bench.json_files import digest
from ial_bench.settings import BACKBONE, shown

PRESET, VERSION, WEIGHTS, ORIGIN, CODE = "preset", "version", "weights", "origin", "code"
PRECISION, LIBRARIES, NETWORK = "precision", "libraries", "network"
"""In what rows of one method may differ beside settings."""
FACTS = (PRESET, VERSION, WEIGHTS, ORIGIN, CODE, PRECISION, LIBRARIES, NETWORK)
_ABSENT = object()
_SHOWN_DIGITS = 8  # of a digest


def differences(methods: Sequence[MethodRecord]) -> list[Mapping[str, str]]:
    """How each configuration differs from the others, in their order; a namesake from elsewhere, by its origin.

    Each configuration is looked at a few times and not beside each of the others: there may be thousands.

    Args:
        methods: the configurations of one method.
    """
    if len(methods) == 1:
        return [{}]
    by_origin: dict[str, list[MethodRecord]] = defaultdict(list)
    for m in methods:
        by_origin[m.origin].append(m)
    siblings = {origin: _Siblings(own) for origin, own in by_origin.items()}
    return [siblings[m.origin].differing(m, several=len(siblings) > 1) for m in methods]


class _Siblings:
    """Configurations of one method of one origin."""

    def __init__(self, methods: Sequence[MethodRecord]) -> None:
        by_preset: dict[str | None, list[MethodRecord]] = defaultdict(list)
        self._look_alikes: dict[str, dict[str, MethodRecord]] = defaultdict(dict)
        self._backbones: dict[str, set[str | None]] = defaultdict(set)
        for m in methods:
            by_preset[m.preset].append(m)
            text = backbone_text(m.backbone)
            self._look_alikes[text].setdefault(encoder_key(m), m)
            self._backbones[text].add(m.backbone)
        self._values = {preset: _values(own) for preset, own in by_preset.items()}
        alike = next(iter(self._values.values())) if len(self._values) == 1 else {}
        self._same = {BACKBONE, *(key for key, values in alike.items() if len(values) == 1)}
        self._changed = {preset: _changed(own) for preset, own in by_preset.items()}
        self._versions = {m.version for m in methods}
        self._sources = {m.source_digest for m in methods}
        self._encoders: dict[str, dict[str, str]] = {}

    def differing(self, mine: MethodRecord, *, several: bool) -> Mapping[str, str]:
        """How one of them differs from the others; `several`: there are others of another origin."""
        found = {PRESET: mine.preset} if mine.preset and len(self._values) > 1 else {}
        found |= {key: shown(value) for key, value in sorted(mine.config.items()) if self._differs(mine, key, value)}
        if len(self._versions) > 1:
            found[VERSION] = mine.version
        if several:
            found[ORIGIN] = mine.origin
        if len(self._sources) > 1:
            found[CODE] = (mine.source_digest or "unknown")[:_SHOWN_DIGITS]
        # The backbone has a column of its own, which names a checkpoint by its file name alone.
        text = backbone_text(mine.backbone)
        if mine.backbone and len(self._backbones[text]) > 1:
            found[BACKBONE] = mine.backbone
        return found | self._of_encoder(mine, text)

    def _differs(self, mine: MethodRecord, key: str, value: Any) -> bool:
        """Whether another configuration has another value: of its preset in any setting, of others in changed ones."""
        if key in self._same:
            return False
        own = _frozen(value)
        if _has_other(self._values[mine.preset][key], own):
            return True
        elsewhere, none = (self._values, {_ABSENT}) if key in mine.changed else (self._changed, set[Hashable]())
        return any(_has_other(of.get(key, none), own) for preset, of in elsewhere.items() if preset != mine.preset)

    def _of_encoder(self, mine: MethodRecord, text: str) -> dict[str, str]:
        """How its encoder differs from others of its name."""
        key = encoder_key(mine)
        if key not in self._encoders:
            others = [m for k, m in self._look_alikes[text].items() if k != key]
            self._encoders[key] = _of_encoder(mine, others) if others else {}
        return self._encoders[key]


def _has_other(values: set[Hashable], own: Hashable) -> bool:
    return len(values) > 1 or (bool(values) and own not in values)


def _values(methods: Iterable[MethodRecord]) -> dict[str, set[Hashable]]:
    """The values of each setting, with `_ABSENT` among them where some lack it."""
    configs = [m.config for m in methods]
    counts, found = Counter[str](), dict[str, set[Hashable]]()
    for config in configs:
        counts.update(config.keys())
        for key, value in config.items():
            found.setdefault(key, set()).add(_frozen(value))
    return {key: values if counts[key] == len(configs) else {*values, _ABSENT} for key, values in found.items()}


def _changed(methods: Iterable[MethodRecord]) -> dict[str, set[Hashable]]:
    """The values of each setting where it was changed on top of a preset."""
    found: dict[str, set[Hashable]] = {}
    for m in methods:
        for key in m.changed:
            found.setdefault(key, set()).add(_frozen(m.config[key]) if key in m.config else _ABSENT)
    return found


def _frozen(value: Any) -> Hashable:
    """A JSON value as one that a set can hold; equal values stay equal."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(below)) for key, below in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _of_encoder(mine: MethodRecord, others: Sequence[MethodRecord]) -> dict[str, str]:
    """How an encoder differs from others of its name."""
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


def encoder_key(method: MethodRecord) -> str:
    """A key that runs of one encoder share, whatever its name; made of the name where a record has no more."""
    if method.encoder is not None:
        return method.encoder.digest
    return "" if method.weights_digest is None else f"{method.backbone} {method.weights_digest}"


@cache
def encoder_of(spec: str) -> EncoderSpec | None:
    """None for an encoder of a library that only a later ial-bench knows: its records are shown all the same."""
    try:
        return EncoderSpec.parse(spec)
    except ConfigError:
        return None


@cache
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


@dataclass(frozen=True)
class Group:
    """The runs of one method with one configuration: its seeds.

    Attributes:
        runs: at least one.
        backbone: its encoder, in short; untrained weights are named as such.
        differences: from the method's other groups: settings and their values as texts, with
            ``preset``, ``version``, ``weights``, ``origin`` and ``code`` where these differ.
    """

    runs: tuple[RunRecord, ...]
    backbone: str
    differences: Mapping[str, str]

    @property
    def title(self) -> str:
        """The method's title, with its differences from the method's other groups."""
        differing = ", ".join(f"{k} {v}" if k in FACTS else f"{k}={v}" for k, v in self.differences.items())
        return self.runs[0].method.title + (f" ({differing})" if differing else "")

    def setting(self, key: str) -> str:
        """A setting, or another fact that may differ, as text; empty where the method has none."""
        method = self.runs[0].method
        if key in self.differences or key not in method.config:
            facts = {PRESET: method.preset or "", VERSION: method.version, ORIGIN: method.origin}
            return self.differences.get(key, facts.get(key, ""))
        return shown(method.config[key])

    @property
    def oracle(self) -> bool:
        """Whether it knows the true positions."""
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
        Group(runs, backbone_text(runs[0].method.backbone), differing)
        for siblings in by_method.values()
        for runs, differing in zip(siblings, differences([s[0].method for s in siblings]), strict=True)
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
    """A key that a row shares with the same run in another precision of encoding."""
    m = group.runs[0].method
    facts = {} if m.encoder is None else m.encoder.model_dump(exclude={"digest", "precision", "notes"})
    return m.name, m.version, m.settings_digest, digest(facts), m.source_digest or m.origin
