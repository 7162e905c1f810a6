"""MaPLe: prompts in the depths of both towers, those of the image tower made from the text's (Khattak et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ial_bench import Candidates, MethodInfo, Photos, Sizes, State, derive_seed
from ial_bench.training.checkpoint import put_tensors
from ial_bench.training.clip_method import ClipTrainingMethod
from ial_methods.prompt.coop import PromptConfig

if TYPE_CHECKING:
    import torch

    from ial_methods.prompt.prompts import Prompts


class MaPLe(ClipTrainingMethod):
    """Learns M tokens before each of the first blocks of the text tower, and one linear map a block to visual ones.

    Both towers are frozen, but gradients flow through both, so every step needs the photos' pixels.
    """

    info = MethodInfo(
        name="maple",
        title="MaPLe",
        family="prompt",
        summary="Coupled deep prompts in both of CLIP's towers, which stay frozen.",
        reference="Khattak et al., MaPLe: Multi-modal Prompt Learning, CVPR 2023",
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    # As trained for one dataset; for transfer to others the rate is 0.0026. The published warm-up holds the rate at
    # 1e-5 for the first epoch; here it rises in a line through that epoch. Photos are not mirrored, and cuts square.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_context": 2, "depth": 9, "init": "a photo of a", "vision": True, "epochs": 5, "batch_size": 4,
            "optimiser": "sgd", "learning_rate": 3.5e-3, "warm_up": 1 / 5, "betas": (0.9, 0.98), "weight_decay": 5e-4,
            "clip_norm": None, "candidates_per_step": None, "min_scale": 0.28, "jitter": 0.0,
        }
    }  # fmt: skip

    class Config(PromptConfig, ClipTrainingMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        n_context: int | None = Field(4, ge=1, description="as of coop")
        init: str | None = Field("a street view of", description="as of coop")
        epochs: int = Field(7, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        batch_size: int = Field(32, ge=1, description="photos of a step, over all processes")
        learning_rate: float = Field(1.5e-2, gt=0, description="the largest, reached after the warm-up")
        depth: int = Field(9, ge=1, description="blocks with prompts of their own, at most those of the towers")
        vision: bool = Field(True, description="whether the image tower is prompted as well")
        candidates_per_step: int | None = Field(
            None, ge=2, description="candidates that a step tells apart, drawn anew each time; null: all"
        )

    config: Config
    head: Any
    """``texts``, prompts by block, and ``couplings``, a linear map each."""
    prompts: Prompts

    def prepare(self) -> None:
        """Refuse image towers that cannot be prompted."""
        super().prepare()
        if self.config.vision:
            _ = self.towers.image_width

    def step_tokens(self, sizes: Sizes) -> float:
        """The prompts that a step tells apart."""
        shown = min(self.config.candidates_per_step or sizes.candidates, sizes.candidates)
        return shown * self.config.prompt_tokens(sizes)

    def trained_at_most(self, sizes: Sizes) -> float:
        """Prompts and their couplings: wide as a feature, about."""
        return float(self.config.depth * sizes.dim * (sizes.dim + (self.config.n_context or 0)))

    def fit(self, train: Photos, val: Photos) -> None:
        """Train; the prompts of the best epoch on val are kept."""
        from ial_bench.training.task import PhotoMatchTask

        self.build(train.candidates)
        task = PhotoMatchTask(
            self.info.name, self.config, self.context, self.head, train, self.towers.preprocessing, self.decoded,
            self.encode_pixels, self.logits, self.config.candidates_per_step, self.scores_are, partial(self.ssa1, val),
        )  # fmt: skip
        self.facts["training"] = task.trainer.run().as_dict()
        self.facts |= {"depth": len(self.head["texts"]), **self.prompts.facts()}

    def build(self, candidates: Candidates) -> None:
        self.new_head()
        self._set_prompts(candidates)
        self.prompts.tell(self.info.name, self.context.report)

    def new_head(self) -> None:
        """What is trained, from the run's seed."""
        import torch
        from torch import nn

        from ial_methods.prompt.prompts import drawn

        towers, config = self.towers, self.config
        depth = min(config.depth, len(towers.text_blocks), *([towers.image_blocks] if config.vision else []))
        if depth < config.depth:
            self.context.report.log(f"{self.info.name}: the shallower tower has {depth} blocks; depth is {depth}")
        first = config.first_context(towers).start(towers, self.context.rng("context"))
        deeper = drawn(self.context.rng("deep"), depth - 1, *first.shape).to(first.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("method", self.context.seed, "coupling"))
            widths = (first.shape[1], towers.image_width) if config.vision else None
            couplings = nn.ModuleList(nn.Linear(*widths) for _ in range(depth) if widths is not None)
        texts = nn.ParameterList(nn.Parameter(p.clone()) for p in (first, *deeper))
        self.head = nn.ModuleDict({"texts": texts, "couplings": couplings}).to(towers.device)

    def _set_prompts(self, candidates: Candidates) -> None:
        from ial_methods.prompt.prompts import Prompts

        self.prompts = Prompts.of(self.towers, candidates.texts, self.config.first_context(self.towers))
        self._prompts_of = candidates.digest

    def visual_prompts(self) -> list[torch.Tensor]:
        """[M, width] for each block of the image tower that is prompted."""
        import torch

        # Detached where no gradients are wanted: torch's counter of operations fails on what asks for them there.
        texts = self.head["texts"] if torch.is_grad_enabled() else [p.detach() for p in self.head["texts"]]
        return [couple(p) for couple, p in zip(self.head["couplings"], texts, strict=True)]

    def encode_prompts(self, some: torch.Tensor | None = None) -> torch.Tensor:
        """Features [n, d] of some candidates' prompts (None: all), not normalised, with gradients to them."""
        first, *deep = self.head["texts"]
        return self.prompts.encode(self.towers, first[None], some, deep=deep)

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        """Logits [n, c] of photos' features [n, d] against some candidates' prompts (None: all), with gradients."""
        from torch.nn.functional import normalize

        from ial_methods.prompt.prompts import cosine_logits

        return cosine_logits(self.towers, x, normalize(self.encode_prompts(some).float(), dim=-1))

    def encode_texts(self, candidates: Candidates) -> torch.Tensor:
        if self._prompts_of != candidates.digest:
            self._set_prompts(candidates)
        return self.encode_prompts()

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of photos beside the visual prompts."""
        if not self.config.vision:
            return super().encode_pixels(pixels)
        return self.towers.encode_prompted(pixels, self.visual_prompts())

    def trained_state(self) -> Mapping[str, torch.Tensor]:
        return dict(self.head.named_parameters())

    def restore_trained(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.new_head()
        put_tensors(self.head, dict(tensors))

    def query_tensors(self) -> list[torch.Tensor]:
        """The visual prompts: what a query needs of the trained parameters."""
        return [p.detach() for p in self.visual_prompts()] if self.config.vision else []

    def state(self) -> State:
        return {**super().state(), **self.prompts.arrays()}

    def restore(self, state: State) -> None:
        from ial_methods.prompt.prompts import Prompts

        super().restore(state)
        self.prompts, self._prompts_of = Prompts.from_arrays(state, self.towers.device), ""
