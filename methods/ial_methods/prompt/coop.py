"""CoOp: a template's words replaced by learnt tokens (Zhou et al., IJCV 2022), and what CoCoOp shares with it.

Torch is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import (
    PHOTO,
    Candidates,
    Effort,
    MethodConfig,
    MethodInfo,
    ParameterCount,
    Sizes,
    State,
    Workload,
    unit_norm,
)
from ial_bench.training.feature_method import FeatureTrainingMethod
from ial_methods.clip.zero_shot import biased

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ial_bench.encoders.towers import ClipTowers
    from ial_methods.prompt.prompts import Context, Prompts

N_CONTEXT = 16
"""Context tokens where neither their number nor a phrase is given."""

Position = Literal["end", "middle"]


class PromptConfig(MethodConfig):
    """Settings of the context."""

    n_context: int | None = Field(
        None, ge=1, description="learnt tokens M; null: as many as the phrase has, or 16 without one"
    )
    init: str | None = Field(
        None,
        description="phrase whose first M tokens the context starts from, the rest stays as it is; null: Gaussian",
    )

    def first_context(self, towers: ClipTowers) -> Context:
        """The context before training.

        Raises:
            ConfigError: a phrase without words, or of fewer tokens than are to be learnt.
            SkipMethod: the tokenizer is not CLIP's.
        """
        from ial_methods.prompt.prompts import Context

        return Context.of(towers, self.init, self.n_context or (N_CONTEXT if self.init is None else None))

    def prompt_tokens(self, sizes: Sizes) -> float:
        """Tokens of a candidate's prompt, about."""
        phrase = len((self.init or "").split())
        return min(sizes.tokens + (phrase or self.n_context or N_CONTEXT) + 1, sizes.context)


class ContextMethod(FeatureTrainingMethod):
    """Learns the context by cross-entropy over the candidates; CLIP's weights and its logit scale stay as they are.

    A subclass implements `new_head` and `logits`.
    """

    class Config(PromptConfig, FeatureTrainingMethod.Config):
        """Settings of every such method."""

    config: Config
    prompts: Prompts

    @cached_property
    def towers(self) -> ClipTowers:
        """The CLIP, a copy of this method's own; frozen."""
        return self.context.features.towers(self.backbone)

    def address_position(self) -> Position:
        """Where the address stands."""
        return "end"

    @abstractmethod
    def new_head(self, context: torch.Tensor, n_candidates: int) -> nn.Module:
        """What is trained, from the first context float32 [M, width]."""

    def build(self, candidates: Candidates) -> nn.Module:
        from ial_methods.prompt.prompts import Prompts

        context = self.config.first_context(self.towers)
        self.prompts = Prompts.of(self.towers, candidates.texts, context, self.address_position())
        self.prompts.tell(self.info.name, self.context.report)
        self.facts.update(self.prompts.facts())
        return self._head(context)

    def _head(self, context: Context) -> nn.Module:
        start = context.start(self.towers, self.context.rng("context"))
        return self.new_head(start, len(self.prompts)).to(self.towers.device)

    def workload(self, sizes: Sizes) -> Workload:
        """The candidates' prompts through the text tower: both ways in each step, forwards for each choice on val."""
        config, tokens = self.config, self.config.prompt_tokens(sizes)
        steps = config.steps_over(sizes.train)
        each = self.prompts_a_step(sizes) * tokens
        looked = config.epochs * self.prompts_on_val(sizes) * tokens
        fit = Effort(tokens=looked, tokens_trained=steps * each, steps=steps)
        return Workload(fit, self.query_effort(sizes), self.context_parameters(sizes), batch_tokens=each)

    def context_parameters(self, sizes: Sizes) -> float:
        """Numbers of the learnt tokens, each about as wide as a feature."""
        return float((self.config.n_context or N_CONTEXT) * sizes.dim)

    def prompts_a_step(self, sizes: Sizes) -> float:
        """Prompts that a step sends through the text tower."""
        return min(self.config.candidates_per_step or sizes.candidates, sizes.candidates)

    def prompts_on_val(self, sizes: Sizes) -> float:
        """Prompts that one look at val takes."""
        return sizes.candidates

    def query_effort(self, sizes: Sizes) -> Effort:  # noqa: ARG002 - where prompts are encoded once
        """One answer."""
        return PHOTO

    def parameters(self) -> ParameterCount:
        trained = self.trained_parameters()
        return ParameterCount(sum(p.numel() for p in self.towers.parameters()) + trained, trained)

    def state(self) -> State:
        return {**super().state(), **self.prompts.arrays()}

    def restore(self, state: State) -> None:
        from ial_methods.prompt.prompts import Prompts

        self.prompts = Prompts.from_arrays(state, self.towers.device)
        self.head = self._head(self.config.first_context(self.towers))
        self.restore_head(state)


class CoOp(ContextMethod):
    """Learns M context tokens before each address, by cross-entropy of photos against all candidates.

    After training the prompts are texts like any other: a query costs what zero-shot CLIP costs.
    """

    info = MethodInfo(
        name="coop",
        title="CoOp",
        family="prompt",
        summary="Learns the words around the address; CLIP itself stays frozen.",
        reference="Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022",
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    # The published warm-up holds the rate at 1e-5 for the first epoch; here it rises in a line through that epoch.
    # With one photo an address the paper takes 50 epochs.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_context": 16, "context": "unified", "position": "end", "init": None, "epochs": 200, "batch_size": 32,
            "optimiser": "sgd", "learning_rate": 2e-3, "warm_up": 1 / 200, "betas": (0.9, 0.98), "weight_decay": 5e-4,
            "clip_norm": None, "candidates_per_step": None,
        }
    }  # fmt: skip

    class Config(ContextMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        context: Literal["unified", "class"] = Field(
            "unified", description="one context for all candidates, or one for each"
        )
        position: Position = Field("end", description="of the address: behind the context, or in its middle")
        epochs: int = Field(20, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        learning_rate: float = Field(1e-2, gt=0, description="the largest, reached after the warm-up")

    config: Config
    head: nn.ParameterDict

    def address_position(self) -> Position:
        return self.config.position

    def new_head(self, context: torch.Tensor, n_candidates: int) -> nn.ParameterDict:
        """The context, one copy for each candidate where each has its own."""
        from torch import nn

        own = context.clone() if self.config.context == "unified" else context.repeat(n_candidates, 1, 1)
        return nn.ParameterDict({"context": nn.Parameter(own)})

    def encode(self, some: torch.Tensor | None = None) -> torch.Tensor:
        """Unit features [n, d] of some candidates' prompts (None: all), with gradients to the context."""
        import torch
        from torch.nn.functional import normalize

        context = self.head["context"]
        if context.ndim == 2:
            features = self.prompts.encode(self.towers, context[None], some)
        else:
            own = torch.arange(len(context), device=context.device) if some is None else some
            features = self.prompts.encode(self.towers, context, some, own)
        return normalize(features.float(), dim=-1)

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """The model's logits of cosines."""
        from ial_methods.prompt.prompts import cosine_logits

        return cosine_logits(self.towers, x, self.encode(some))

    def answer_with(self) -> None:
        self.texts = (self.encode() * self.towers.logit_scale.float()).cpu().numpy()

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The same logits from the prompts' features as they were encoded last."""
        return biased(unit_norm(x) @ self.texts.T, self.logit_bias)

    def storage_bytes(self) -> int:
        """The image tower and the prompts' features: the text tower has no part in a query."""
        return self.context.features.card(self.backbone).image_bytes + int(self.texts.nbytes)
