"""Where learnt tokens stand in a candidate's text: start, context, address, full stop, end.

With the embeddings of a phrase's tokens as context, the prompt of a candidate is token by token the text
``PHRASE ADDRESS.``, so that a prompt before training is zero-shot CLIP with this template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import ConfigError, Reporter, State
from ial_bench.encoders.text_tree import Keys
from ial_bench.encoders.towers import ClipTowers
from ial_bench.training.loop import full_precision

STOP = "."
"""Ends every prompt, as in the methods' own code. Behind a bracket it is one token with it, as in any text."""
SPREAD = 0.02
"""Standard deviation of what is drawn to start from."""


@dataclass(frozen=True)
class Context:
    """The context before training.

    Attributes:
        size: learnt tokens, M.
        phrase: the phrase's tokens, none without one; those from the M-th on stay as they are.
    """

    size: int
    phrase: tuple[int, ...]

    @classmethod
    def of(cls, towers: ClipTowers, init: str | None, n: int | None) -> Context:
        """A context of `n` tokens that starts from the phrase `init`, or from noise.

        Args:
            towers: for the tokenizer.
            init: the phrase, or None.
            n: learnt tokens; None: as many as the phrase has.

        Raises:
            ConfigError: a phrase without words, or of fewer tokens than are to be learnt.
            SkipMethod: the tokenizer is not CLIP's.
        """
        encode = towers.clip_tokenizer.encode
        phrase = () if init is None else tuple(encode(init))
        size = len(phrase) if n is None else n
        if init is None:
            return cls(size, phrase)
        if not phrase or size > len(phrase):
            raise ConfigError(
                f"the phrase {init!r} has {len(phrase)} tokens, fewer than n_context {size or 1}",
                "take a longer phrase, fewer tokens, or init=null",
            )
        return cls(size, phrase)

    def start(self, towers: ClipTowers, rng: np.random.Generator) -> torch.Tensor:
        """float32 [M, width]: the embeddings of the phrase's first tokens, or Gaussian noise."""
        if self.phrase:
            tokens = torch.tensor(self.phrase[: self.size], device=towers.device)
            return towers.embed(tokens).detach().float().clone()
        return drawn(rng, self.size, towers.text_width).to(towers.device)


def drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """float32: Gaussian of standard deviation `SPREAD`."""
    return torch.from_numpy(rng.normal(0, SPREAD, shape)).float()


def cosine_logits(towers: ClipTowers, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """The model's logits [n, c] of photos' features [n, d] of any length and unit features of texts [c, d]."""
    with full_precision(images.device):
        return towers.biased(towers.logit_scale.float() * F.normalize(images, dim=-1) @ texts.T)


@dataclass(frozen=True)
class Prompts:
    """Each candidate's tokens, with places for the learnt ones.

    Attributes:
        tokens: int64 [n, l]; at the learnt places whatever stands there has no effect.
        slots: int64 [n, M], the columns of the learnt tokens.
        ends: int64 [n], the column of the end-of-text token.
        cut: addresses that were too long.
    """

    tokens: torch.Tensor
    slots: torch.Tensor
    ends: torch.Tensor
    cut: int

    @classmethod
    def of(
        cls, towers: ClipTowers, addresses: Sequence[str], context: Context, position: Literal["end", "middle"] = "end"
    ) -> Prompts:
        """The prompts of `addresses`.

        An address that does not fit beside the context is cut at a token's edge.

        Args:
            towers: for tokenizer and length.
            addresses: as texts.
            context: its learnt tokens, and what of the phrase follows them.
            position: ``end``: context, address, full stop; ``middle``: the address between the context's halves.

        Raises:
            ConfigError: the context leaves no token to the address.
            SkipMethod: the tokenizer is not CLIP's.
        """
        tokenizer = towers.clip_tokenizer
        words = context.phrase or (0,) * context.size
        before = len(words) // 2 if position == "middle" else len(words)
        behind = len(words) - before
        stop = tokenizer.encode(STOP) if behind else []
        room = towers.context_length - 2 - len(words) - len(stop)
        if room < 1:
            raise ConfigError(
                f"a context of {len(words)} tokens leaves no room for an address in {towers.context_length}",
                "give a smaller n_context or a shorter init",
            )
        rows, cut = [], 0
        for text in addresses:
            address = tokenizer.encode(text if behind else text + STOP)
            cut += len(address) > room
            middle = [*words[:before], *address[:room], *words[before:], *stop]
            rows.append([tokenizer.sot_token_id, *middle, tokenizer.eot_token_id])
        ends = torch.tensor([len(row) - 1 for row in rows], dtype=torch.long)
        tokens = torch.zeros((len(rows), max((len(row) for row in rows), default=1)), dtype=torch.long)
        for held, row in zip(tokens, rows, strict=True):
            held[: len(row)] = torch.tensor(row)
        place = torch.arange(context.size)
        address_lengths = ends - 1 - len(words) - len(stop)
        slots = 1 + place + (place >= before) * address_lengths[:, None]
        return cls(tokens.to(towers.device), slots.to(towers.device), ends.to(towers.device), cut)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _learnt(self) -> torch.Tensor:
        """int64 [n, l]: which learnt token stands at each place, -1 where none does."""
        numbers = torch.arange(self.slots.shape[1], device=self.slots.device)
        return torch.full_like(self.tokens, -1).scatter(1, self.slots, numbers.expand_as(self.slots))

    @cached_property
    def _at_hand(self) -> tuple[Keys, Keys]:
        """Tokens and learnt tokens, on the CPU."""
        return self.tokens.cpu().numpy(), self._learnt.cpu().numpy()

    def encode(
        self,
        towers: ClipTowers,
        contexts: torch.Tensor,
        candidates: torch.Tensor | None = None,
        which: torch.Tensor | None = None,
        deep: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """Features [n, d] of some candidates' prompts, not normalised, with gradients to the contexts.

        Args:
            towers: whose text tower is used.
            contexts: [c, M, width], learnt tokens.
            candidates: int64 [n], may hold one more than once; None: each once, in order.
            which: int64 [n], the context of each; None: the first.
            deep: as of `ClipTowers.encode_embeddings`.
        """
        size = contexts.shape[1]
        some = torch.arange(len(self), device=towers.device) if candidates is None else candidates
        firsts = torch.zeros_like(some) if which is None else which * size
        table = contexts.flatten(0, 1)

        def embed(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
            learnt = self._learnt[some[rows], columns]
            x = towers.embed(self.tokens[some[rows], columns])
            at = (learnt >= 0).nonzero(as_tuple=True)
            numbers = (firsts[rows] + learnt)[at]
            return x.index_put(at, table[numbers].to(x.dtype))

        return towers.encode_embeddings(embed, self.ends[some], deep, self._keys(some, firsts))

    def _keys(self, some: torch.Tensor, firsts: torch.Tensor) -> Keys:
        """int64 [n, l]: tokens, and below zero the learnt ones."""
        rows = some.cpu().numpy()
        tokens, learnt = (part[rows] for part in self._at_hand)
        keys: Keys = np.where(learnt < 0, tokens, -1 - firsts.cpu().numpy()[:, None] - learnt)
        return keys

    def tell(self, name: str, report: Reporter) -> None:
        """Say how many addresses were cut, if any."""
        if self.cut:
            report.log(f"{name}: {self.cut} of {len(self)} addresses are too long for the text tower and were cut")

    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """For a state."""
        held = {"tokens": self.tokens, "slots": self.slots, "ends": self.ends}
        return {f"prompts/{n}": t.cpu().numpy() for n, t in held.items()} | {"prompts/cut": np.array(self.cut)}

    @classmethod
    def from_arrays(cls, state: State, device: torch.device) -> Prompts:
        """What `arrays` gave."""
        tokens, slots, ends = (torch.tensor(state[f"prompts/{n}"], device=device) for n in ("tokens", "slots", "ends"))
        return cls(tokens, slots, ends, int(state["prompts/cut"]))

    def facts(self) -> Mapping[str, Any]:
        """For the record."""
        return {"context_tokens": int(self.slots.shape[1]), "addresses_cut": self.cut}
