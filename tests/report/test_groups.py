"""What tells the configurations of a method apart, against each of them held beside each of the others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ial_bench.engine.record import MethodRecord
from ial_bench.report.groups import FACTS, differences
from ial_bench.settings import BACKBONE
from support.made_records import make_record


def by_pairs(methods: list[MethodRecord]) -> list[set[str]]:
    """The keys by the definition: a setting is told where some other configuration has another value of it."""
    found = []
    for mine in methods:
        others = [m for m in methods if m.origin == mine.origin and m is not mine]
        keys = {"preset"} if mine.preset and any(m.preset != mine.preset for m in others) else set()
        for m in others:
            both = {*mine.config, *m.config} if m.preset == mine.preset else {*mine.changed, *m.changed}
            keys |= {k for k in both & mine.config.keys() if m.config.get(k, "absent") != mine.config[k]} - {BACKBONE}
            keys |= {"version"} if m.version != mine.version else set()
            keys |= {"code"} if m.source_digest != mine.source_digest else set()
        keys |= {"origin"} if len({m.origin for m in methods}) > 1 else set()
        alike = [m for m in others if m.backbone == mine.backbone]
        keys |= {"weights"} if any(m.weights_digest != mine.weights_digest for m in alike) else set()
        found.append(keys)
    return found


def some_method(rng: np.random.Generator) -> MethodRecord:
    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    config = {key: pick(0, 1, 1.0, "x", ["x"], {"y": [1]}, None) for key in "abc" if rng.random() < 0.8}
    return make_record(
        "m", config=config, preset=pick(None, "paper", "quick"), changed=[k for k in config if rng.random() < 0.4],
        version=pick("1", "1", "2"), origin=pick("ial-bench", "ial-bench", "mine.py"), source=pick(None, "s" * 64),
        backbone=pick(None, "openclip:A/b", "openclip:A/c"), weights=pick("v" * 64, "w" * 64),
    ).method  # fmt: skip


def test_they_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        methods = [some_method(rng) for _ in range(rng.integers(1, 7))]
        told = differences(methods)
        assert [set(t) for t in told] == by_pairs(methods), json.dumps([m.model_dump() for m in methods])
        for method, texts in zip(methods, told, strict=True):
            settings = {*texts} - {*FACTS}
            assert all(texts[k] in {"x", str(method.config[k]), json.dumps(method.config[k])} for k in settings)
