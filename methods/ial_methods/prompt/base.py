"""What CoOp and CoCoOp share: a context learnt on cached features of photos, before the text tower."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

from ial_bench import Candidates, State
from ial_bench.method import ParameterCount
from ial_bench.training.feature_method import FeatureTrainingMethod
from ial_bench.workload import PHOTO, Effort, Sizes, Workload
from ial_methods.prompt.config import N_CONTEXT, Position, PromptConfig, prompt_tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ial_bench.encoders.towers import ClipTowers
    from ial_methods.prompt.prompts import Context, Prompts


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
        """The head before training, and the candidates' tokens."""
        from ial_methods.prompt.prompts import Context, Prompts

        context = Context.of(self.towers, self.config)
        self.prompts = Prompts.of(self.towers, candidates.texts, context, self.address_position())
        self.prompts.tell(self.info.name, self.context.report)
        self.facts.update(self.prompts.facts())
        return self._head(context)

    def _head(self, context: Context) -> nn.Module:
        start = context.start(self.towers, self.context.rng("context"))
        return self.new_head(start, len(self.prompts)).to(self.towers.device)

    def workload(self, sizes: Sizes) -> Workload:
        """The candidates' prompts through the text tower: both ways in each step, forwards for each choice on val."""
        config, tokens = self.config, prompt_tokens(self.config, sizes)
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
        """Both towers, frozen, and what is trained beside them."""
        trained = self.trained_parameters()
        return ParameterCount(sum(p.numel() for p in self.towers.parameters()) + trained, trained)

    def state(self) -> State:
        """The trained parameters and the candidates' tokens."""
        return {**super().state(), **self.prompts.arrays()}

    def restore(self, state: State) -> None:
        """Take them over."""
        from ial_methods.prompt.prompts import Context, Prompts

        self.prompts = Prompts.from_arrays(state, self.towers.device)
        self.head = self._head(Context.of(self.towers, self.config))
        self.restore_head(state)
