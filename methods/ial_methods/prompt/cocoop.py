"""CoCoOp: a learnt context that each photo shifts (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import PHOTO, Effort, MethodInfo, Sizes, derive_seed
from ial_methods.prompt.coop import ContextMethod

if TYPE_CHECKING:
    import torch
    from torch import nn

_SQUEEZE = 16  # how many times narrower than a photo's feature the hidden layer of the meta-network is


class CoCoOp(ContextMethod):
    """As CoOp, with a small network on the photo's feature whose output is added to each context token.

    Each photo has prompts of its own, so that a query sends every candidate through the text tower.
    """

    info = MethodInfo(
        name="cocoop",
        title="CoCoOp",
        family="prompt",
        summary="CoOp with a context that depends on the photo.",
        reference="Zhou et al., Conditional Prompt Learning for Vision-Language Models, CVPR 2022",
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    # The published warm-up holds the rate at 1e-5 for the first epoch; here it rises in a line through that epoch.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_context": 4, "init": "a photo of a", "epochs": 10, "batch_size": 1, "optimiser": "sgd",
            "learning_rate": 2e-3, "warm_up": 1 / 10, "betas": (0.9, 0.98), "weight_decay": 5e-4, "clip_norm": None,
            "candidates_per_step": None,
        }
    }  # fmt: skip

    class Config(ContextMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        init: str | None = Field("a street view of", description="as of coop")
        epochs: int = Field(2, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        batch_size: int = Field(8, ge=1, description="photos of a step, over all processes")
        candidates_per_step: int | None = Field(
            16, ge=2, description="candidates that a step tells apart, drawn anew each time; null: all"
        )
        learning_rate: float = Field(5e-3, gt=0, description="the largest, reached after the warm-up")

    config: Config
    head: nn.ModuleDict

    def new_head(self, context: torch.Tensor, n_candidates: int) -> nn.ModuleDict:  # noqa: ARG002 - one context for all
        """Context and meta-network, the latter drawn as torch does by default."""
        import torch
        from torch import nn

        dim = self.context.features.card(self.backbone).dim
        hidden = max(1, dim // _SQUEEZE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("method", self.context.seed, "meta-network"))
            meta = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, context.shape[1]))
        head = nn.ModuleDict({"meta": meta})
        head.register_parameter("context", nn.Parameter(context.clone()))
        return head

    def prompts_a_step(self, sizes: Sizes) -> float:
        """Each photo of a step has prompts of its own."""
        return super().prompts_a_step(sizes) * min(self.config.batch_size, sizes.train)

    def prompts_on_val(self, sizes: Sizes) -> float:
        """So has each photo of val."""
        return float(sizes.val * sizes.candidates)

    def query_effort(self, sizes: Sizes) -> Effort:
        """The photo, and all candidates through the text tower."""
        return PHOTO + Effort(tokens=sizes.candidates * self.config.prompt_tokens(sizes))

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """Cosine of each photo with its own prompts, as the model's logits."""
        import torch
        from torch.nn.functional import normalize

        from ial_bench.training.loop import full_precision

        images = normalize(x, dim=-1)
        asked = torch.arange(len(self.prompts), device=x.device) if some is None else some
        context: torch.Tensor = self.head.context  # type: ignore[assignment]
        contexts = context + self.head["meta"](images)[:, None]
        photo = torch.arange(len(x), device=x.device).repeat_interleave(len(asked))
        features = self.prompts.encode(self.towers, contexts, asked.repeat(len(x)), photo).float()
        texts = normalize(features, dim=-1).view(len(x), len(asked), features.shape[1])
        with full_precision(x.device):
            cosines: torch.Tensor = (texts @ images[:, :, None])[:, :, 0]
            return self.towers.biased(self.towers.logit_scale.float() * cosines)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits, photo by photo: memory does not grow with the batch, nor do answers depend on it."""
        rows = [super(CoCoOp, self).score_features(x[i : i + 1]) for i in range(len(x))]
        return np.concatenate([np.zeros((0, len(self.prompts)), np.float32), *rows])

    def storage_bytes(self) -> int:
        """Both towers, the head and the candidates' tokens: all of them have a part in a query."""
        held = [*self.towers.model.state_dict().values(), *self.head.parameters(), self.prompts.tokens]
        return sum(t.numel() * t.element_size() for t in held)
