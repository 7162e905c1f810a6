"""CoOp: a template's words replaced by learnt tokens (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import MethodInfo, unit_norm
from ial_methods.clip.texts import biased
from ial_methods.prompt.base import ContextMethod
from ial_methods.prompt.config import Position

if TYPE_CHECKING:
    import torch

    from ial_methods.prompt.heads import CoOpHead


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
    head: CoOpHead

    def address_position(self) -> Position:
        """As configured."""
        return self.config.position

    def new_head(self, context: torch.Tensor, n_candidates: int) -> CoOpHead:
        """The context, one copy for each candidate where each has its own."""
        from ial_methods.prompt.heads import CoOpHead

        return CoOpHead(context if self.config.context == "unified" else context.repeat(n_candidates, 1, 1))

    def encode(self, some: torch.Tensor | None = None) -> torch.Tensor:
        """Unit features [n, d] of some candidates' prompts (None: all), with gradients to the context."""
        import torch
        from torch.nn.functional import normalize

        context = self.head.context
        if context.ndim == 2:
            features = self.prompts.encode(self.towers, context[None], some)
        else:
            own = torch.arange(len(context), device=context.device) if some is None else some
            features = self.prompts.encode(self.towers, context, some, own)
        return normalize(features.float(), dim=-1)

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """The model's logits of cosines."""
        from torch.nn.functional import normalize

        from ial_bench.training.loop import full_precision

        texts = self.encode(some)
        with full_precision(x.device):
            return self.towers.biased(self.towers.logit_scale.float() * normalize(x, dim=-1) @ texts.T)

    def answer_with(self) -> None:
        """Encode the prompts once."""
        self.texts = (self.encode() * self.towers.logit_scale.float()).cpu().numpy()

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The same logits from the prompts' features as they were encoded last."""
        return biased(unit_norm(x) @ self.texts.T, self.logit_bias)

    def storage_bytes(self) -> int:
        """The image tower and the prompts' features: the text tower has no part in a query."""
        return self.context.features.card(self.backbone).image_bytes + int(self.texts.nbytes)
