"""Which token stands where in a prompt, token by token, against CLIP's own tokenizer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench.encoders.openclip import build_openclip
from ial_bench.encoders.towers import ClipTowers, load_towers
from ial_bench.errors import ConfigError
from ial_bench.progress import NoReport
from ial_bench.testing import CHECK_BACKBONE, make_tiny_city
from ial_methods.prompt.coop import PromptConfig
from ial_methods.prompt.prompts import Context, Prompts
from support.prompt_lab import PHRASE, STREET, made, untrained

ADDRESSES = ["Elm Street, Old Town (Crossing 2, Crossing 3)", "Oak", "Rue de l'Église, Paris (Quai 1, Quai 2)"]


@pytest.fixture(scope="module")
def towers() -> ClipTowers:
    return load_towers(CHECK_BACKBONE, "cpu")


@cache
def tokenizer(spec: str) -> Any:
    return build_openclip(spec).tokenizer


def whole(text: str) -> list[int]:
    """The text's tokens by open_clip, from start to end; after the end the tokenizer writes zeros."""
    row: list[int] = tokenizer(CHECK_BACKBONE)([text])[0].tolist()
    return row[: row.index(max(row)) + 1]


def context(towers: ClipTowers, n: int | None, init: str | None) -> Context:
    return PromptConfig(n_context=n, init=init).first_context(towers)


def test_the_context_stands_before_the_address(towers: ClipTowers) -> None:
    prompts = Prompts.of(towers, ADDRESSES, context(towers, 3, None))
    for row, address in enumerate(ADDRESSES):
        start, *rest = whole(f"{address}.")
        end = int(prompts.ends[row])
        held = prompts.tokens[row].tolist()
        assert held[0] == start
        assert prompts.slots[row].tolist() == [1, 2, 3]
        assert held[4 : end + 1] == rest
        assert held[end + 1 :] == [0] * (len(held) - end - 1)


def test_the_address_stands_in_the_middle(towers: ClipTowers) -> None:
    prompts = Prompts.of(towers, ADDRESSES, context(towers, 5, None), "middle")
    for row, address in enumerate(ADDRESSES):
        start, *inside, end = whole(address)
        held, n = prompts.tokens[row].tolist(), len(inside)
        assert prompts.slots[row].tolist() == [1, 2, 3 + n, 4 + n, 5 + n]  # the smaller half comes first
        assert held[3 : 3 + n] == inside
        assert held[6 + n : 8 + n] == [whole(".")[1], end]
        assert (held[0], int(prompts.ends[row])) == (start, 7 + n)


@pytest.mark.parametrize("n", [None, 1, 4])
def test_a_phrase_makes_the_prompt_a_text(towers: ClipTowers, n: int | None) -> None:
    prompts = Prompts.of(towers, ADDRESSES, context(towers, n, PHRASE))
    for row, address in enumerate(ADDRESSES):
        assert prompts.tokens[row, : int(prompts.ends[row]) + 1].tolist() == whole(f"{PHRASE} {address}.")
    assert prompts.slots.tolist() == [list(range(1, 1 + (n or 4)))] * 3


def test_a_phrase_around_the_address_is_a_text_too(towers: ClipTowers) -> None:
    prompts = Prompts.of(towers, ADDRESSES, context(towers, 3, PHRASE), "middle")
    for row, address in enumerate(ADDRESSES):
        n = len(whole(address)) - 2
        assert prompts.tokens[row, : int(prompts.ends[row]) + 1].tolist() == whole(f"a street {address} view of.")
        assert prompts.slots[row].tolist() == [1, 2, 3 + n]


@pytest.mark.parametrize("position", ["end", "middle"])
def test_embeddings_are_the_learnt_ones_in_their_places_alone(
    towers: ClipTowers, position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def keep(embed: Any, ends: torch.Tensor, *_: Any) -> torch.Tensor:
        seen["x"] = embed(torch.arange(len(ends))[:, None], torch.arange(int(ends.max()) + 1))
        return torch.zeros(len(ends), 1)

    monkeypatch.setattr(towers, "encode_embeddings", keep)
    prompts = Prompts.of(towers, ADDRESSES, context(towers, 4, None), position)  # type: ignore[arg-type]
    learnt = torch.randn(3, 4, towers.text_width)
    which = torch.tensor([2, 0, 2])
    prompts.encode(towers, learnt, which, torch.arange(3))
    table = towers.model.token_embedding.weight
    for text, candidate in enumerate(which.tolist()):
        slots = prompts.slots[candidate].tolist()
        for column in range(int(prompts.ends[candidate]) + 1):
            token = prompts.tokens[candidate, column]
            expected = learnt[text, slots.index(column)] if column in slots else table[token]
            assert torch.equal(seen["x"][text, column], expected)


@pytest.mark.parametrize("position", ["end", "middle"])
@pytest.mark.parametrize("same", [True, False])
def test_prompts_together_and_alone(towers: ClipTowers, position: str, same: bool) -> None:
    """Prompts that begin alike, and some that only seem to: their addresses hold the words of the phrase."""
    addresses = [*ADDRESSES, "view of", "street view of", "Elm Street, Old Town", "Elm Street, Old Town", "street"]
    prompts = Prompts.of(towers, addresses, context(towers, 3, PHRASE), position)  # type: ignore[arg-type]
    n = len(addresses)
    learnt = torch.randn(n, 3, towers.text_width, generator=torch.Generator().manual_seed(1))
    which = torch.zeros(n, dtype=torch.long) if same else torch.arange(n).flip(0)
    candidates = torch.arange(n).roll(2)
    together = prompts.encode(towers, learnt, candidates, which)
    alone = [prompts.encode(towers, learnt[int(w)][None], c[None]) for c, w in zip(candidates, which, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_long_addresses_are_cut_at_a_token(towers: ClipTowers) -> None:
    addresses = ["Oak", "Long Lane " * 60, "Elm " * 70 + "Z"]
    report = NoReport()
    prompts = Prompts.of(towers, addresses, context(towers, None, PHRASE))
    for row, address in enumerate(addresses):  # open_clip cuts a long text at the same token
        assert prompts.tokens[row, : int(prompts.ends[row]) + 1].tolist() == whole(f"{PHRASE} {address}.")
    assert prompts.ends.tolist()[1:] == [76, 76]
    prompts.tell("coop", report)
    assert report.lines == ["coop: 2 of 3 addresses are too long for the text tower and were cut"]
    assert prompts.facts() == {"context_tokens": 4, "addresses_cut": 2}
    middle = Prompts.of(towers, addresses, context(towers, None, PHRASE), "middle")
    assert middle.tokens[1, 73:].tolist() == whole("view of.")[1:]  # the second half, full stop and end are kept


def test_what_just_fits_is_not_cut(towers: ClipTowers) -> None:
    room = 77 - 2 - 4
    texts = ["a " * (room - 1), "a " * room]  # with the full stop: as many tokens as there is room, and one more
    assert Prompts.of(towers, texts[:1], context(towers, None, PHRASE)).cut == 0
    assert Prompts.of(towers, texts, context(towers, None, PHRASE)).cut == 1


def test_addresses_cut_are_told_once(tmp_path: Path) -> None:
    city = make_tiny_city(tmp_path / "city", n_addresses=3)
    method = made("coop", tmp_path / "cache", n_context=66, epochs=2)
    method.fit(city.split("train"), city.split("val"))
    assert method.facts["addresses_cut"] == 3
    assert sum("too long" in line for line in method.context.report.lines) == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"n_context": 5, "init": PHRASE}, "has 4 tokens, fewer than n_context 5"),
        ({"init": " "}, "has 0 tokens"),
        ({"n_context": 75}, "leaves no room"),
    ],
)
def test_contexts_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, object], problem: str) -> None:
    city = make_tiny_city(tmp_path / "city", n_addresses=2)
    with pytest.raises(ConfigError, match=problem):
        untrained("coop", tmp_path / "cache", city, **settings)


def test_the_context_starts_from_the_phrase_or_from_noise() -> None:
    towers = load_towers(STREET, "cpu")
    table = towers.model.token_embedding.weight
    start = context(towers, 2, PHRASE).start(towers, np.random.default_rng(0))
    assert torch.equal(start, table[tokenizer(STREET)([PHRASE])[0, 1:3]])
    noise = context(towers, None, None).start(towers, np.random.default_rng(0))
    assert noise.shape == (16, 128)
    assert float(noise.std()) == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(noise, context(towers, None, None).start(towers, np.random.default_rng(1)))
