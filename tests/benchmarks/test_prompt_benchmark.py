"""A step of prompts through the text tower as a tree of what they share, against each prompt by itself.

Addresses are as those of a city: some segments to a street, some streets to a quarter. The figures are ratios of the
same run: `pytest tests/benchmarks/test_prompt_benchmark.py --benchmark-enable -s`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench.encoders.towers import load_towers
from ial_methods.prompt.prompts import Context, Prompts

BACKBONE = "openclip:tiny-street/random-init"


def addresses(streets: int, segments: int) -> list[str]:
    """`streets` times `segments` of them."""
    names = ["Oak", "Elm", "Fir", "Cedar", "Maple", "Birch", "Ash", "Pine", "Willow", "Hazel"]
    street = [f"{names[i % 10]} {('Street', 'Avenue', 'Lane')[i // 10 % 3]}" for i in range(streets)]
    crossing = [street[(7 * i + 3) % streets] for i in range(streets * segments + 1)]
    return [
        f"{street[i // segments]}, Quarter {i // segments // 5} ({crossing[i]}, {crossing[i + 1]})"
        for i in range(streets * segments)
    ]


@pytest.mark.parametrize("n_context", [4, 16])
def test_a_step_of_prompts(benchmark: Any, monkeypatch: pytest.MonkeyPatch, n_context: int) -> None:
    full = not benchmark.disabled
    towers = load_towers(BACKBONE, "cpu")
    context = Context.of(towers, None, n_context)
    prompts = Prompts.of(towers, addresses(*((20, 4) if full else (3, 2))), context)
    learnt = torch.nn.Parameter(context.start(towers, np.random.default_rng(0)))
    encode = towers.encode_embeddings

    def step() -> torch.Tensor:
        (gradient,) = torch.autograd.grad(prompts.encode(towers, learnt[None]).square().sum(), learnt)
        return gradient

    def alone() -> torch.Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(towers, "encode_embeddings", lambda embed, ends, deep, _: encode(embed, ends, deep))
            return step()

    torch.testing.assert_close(step(), alone(), rtol=1e-3, atol=1e-4)
    ratios = []
    for _ in range(25 if full else 1):  # in turns, so that a machine whose speed drifts is fair to both
        started = time.process_time()
        alone()
        between = time.process_time()
        step()
        ratios.append((time.process_time() - between) / (between - started))
    benchmark.extra_info |= {"prompts": len(prompts), "ratio": float(np.median(ratios))}
    low, high = np.percentile(ratios, [25, 75])
    print(
        f"\n{len(prompts)} prompts of {n_context} learnt tokens: tree / alone = {np.median(ratios):.3f} "
        f"(quartiles {low:.3f}, {high:.3f})"
    )
    benchmark(step)
