"""AddressCLIP: CLIP's towers trained on photos, addresses, captions and positions (Xu et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ial_bench import Candidates, MethodInfo, Photos
from ial_bench.training.clip_method import ClipTrainingMethod
from ial_bench.training.log import TrainingLog
from ial_bench.workload import Sizes, Workload, distinct

if TYPE_CHECKING:
    import torch

    from ial_bench.training.loop import Group

Loss = Literal["address", "caption", "geography"]
_ALL: tuple[Loss, ...] = ("address", "caption", "geography")

_PAPER = {
    "epochs": 100, "batch_size": 256, "optimiser": "adam", "learning_rate": 2.4e-5, "final_rate": 1e-3, "warm_up": 0.0,
    "betas": (0.9, 0.98), "weight_decay": 0.0, "text_rate": 1.0, "clip_norm": None, "min_scale": 1.0, "jitter": 0.0,
}  # fmt: skip


class AddressClip(ClipTrainingMethod):
    """Minimises ``1.0 L_address + 0.2 L_caption + 0.8 L_geography`` over both towers, without new parameters.

    L_address sets photos against the texts of their addresses, L_caption against caption and address, L_geography
    the distances of photo features against those on the map. A photo's answer is the candidate whose text is most
    similar; captions and positions are used in training alone.
    """

    info = MethodInfo(
        name="addressclip",
        title="AddressCLIP",
        family="addressclip",
        summary="CLIP fine-tuned with address, caption and geography losses.",
        reference="Xu et al., AddressCLIP: Empowering Vision-Language Models for City-wide Image Address Localization, "
        "ECCV 2024",
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    shares_fit = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER}

    class Config(ClipTrainingMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        losses: tuple[Loss, ...] = Field(
            _ALL, min_length=1, description="address, caption, geography, joined by +; all"
        )
        weight_address: float = Field(1.0, ge=0, description="of L_address")
        weight_caption: float = Field(0.2, ge=0, description="of L_caption")
        weight_geography: float = Field(0.8, ge=0, description="of L_geography")
        geography_target: Literal["distance", "literal"] = Field(
            "distance", description="distance, or literal: the formula as printed"
        )
        geography_extent: Literal["batch", "dataset"] = Field("batch", description="what positions are scaled by")
        address_text: Literal["canonical", "verbose"] = Field("canonical", description="form of the address as text")
        train: Literal["both", "image", "text", "none"] = Field("both", description="towers that are trained")
        positives: Literal["one", "all"] = Field(
            "one",
            description="right captions of a photo in a batch: its own (the paper), or all of its address. "
            "For L_address both are the same: photos of one address have one text",
        )
        batches: Literal["random", "distinct-places"] = Field(
            "random", description="distinct-places: no two photos of one place in a batch, where that can be"
        )
        text_rate: float = Field(5.0, gt=0, description="factor on the learning rate of the text tower")
        batch_size: int = Field(32, ge=1, description="photos of a step, over all processes")
        epochs: int = Field(8, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        learning_rate: float = Field(3e-4, gt=0, description="the largest, of the image tower")
        weight_decay: float = Field(0.05, ge=0, description="of matrices")
        min_scale: float = Field(0.85, gt=0, le=1, description="side of the smallest cut, as a share")
        jitter: float = Field(0.1, ge=0, le=1, description="strength of brightness, contrast and tint changes")

        @field_validator("losses", mode="before")
        @classmethod
        def _from_text(cls, value: Any) -> Any:
            if isinstance(value, str):
                return _ALL if value == "all" else tuple(value.split("+"))
            return value

        @field_validator("losses")
        @classmethod
        def _in_order(cls, value: tuple[Loss, ...]) -> tuple[Loss, ...]:
            return tuple(name for name in _ALL if name in value)  # one order, one identity

    config: Config

    def fit(self, train: Photos, val: Photos) -> None:
        """Train; the weights of the best epoch on val are kept."""
        if self.config.train == "none":
            self.context.report.log(f"{self.info.name}: neither tower is trained; this is zero-shot CLIP")
            self.facts["training"] = TrainingLog().told()
            return
        from ial_methods.addressclip.task import AddressClipTask

        task = AddressClipTask(self, train, val)
        self.facts["captions_cut"] = task.captions_cut  # too long for the text tower, with their addresses
        self.facts["training"] = task.trainer.run().told()

    def workload(self, sizes: Sizes) -> Workload:
        """That of any training, or the candidates' texts alone."""
        if self.config.train == "none":
            return replace(super().workload(replace(sizes, train=0, val=0)), trained=0.0)
        return super().workload(sizes)

    def step_tokens(self, sizes: Sizes) -> float:
        """Each different address of a batch, and each caption with its address."""
        batch = min(self.config.batch_size, sizes.train)
        address = distinct(batch, sizes.candidates) * sizes.tokens if "address" in self.config.losses else 0.0
        told = "caption" in self.config.losses and sizes.caption_tokens > 0
        return address + (batch * min(sizes.caption_tokens + sizes.tokens, sizes.context) if told else 0.0)

    def encode_texts(self, candidates: Candidates) -> torch.Tensor:
        """Features of the candidates' texts."""
        return self.towers.encode_tokens(self.towers.tokenize(self.address_texts(candidates)))

    def address_texts(self, candidates: Candidates) -> list[str]:
        """Each candidate as text, in the configured form."""
        return (
            candidates.texts if self.config.address_text == "canonical" else [a.verbose for a in candidates.addresses]
        )

    def groups(self) -> list[Group]:
        """The trained parameters; they alone are asked for gradients from here on."""
        from ial_bench.training.loop import Group

        towers, train = self.towers, self.config.train
        image = towers.image_parameters() if train in {"both", "image"} else []
        text = towers.text_parameters() if train in {"both", "text"} else []
        groups = [Group(image), Group(text, rate=self.config.text_rate)]
        if train != "none":
            bias = towers.logit_bias
            groups.append(Group([towers.model.logit_scale, *([] if bias is None else [bias])]))
        for group in groups:
            for parameter in group.parameters:
                parameter.requires_grad = True
        return groups

    def trained_state(self) -> Mapping[str, torch.Tensor]:
        """All trained parameters of the towers."""
        return {n: p for n, p in self.towers.named_parameters() if p.requires_grad}

    def restore_trained(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take them over."""
        from ial_bench.training.checkpoint import put_tensors

        self.groups()
        put_tensors(self.towers, dict(tensors))


class ClipAddress(AddressClip):
    """CLIP fine-tuned on photos and addresses with L_address alone: the paper's "CLIP + address"."""

    info = MethodInfo(
        name="clip-address",
        title="CLIP + address",
        family="addressclip",
        summary="CLIP fine-tuned with the address loss alone.",
        reference=AddressClip.info.reference,
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )

    shares_fit = False

    class Config(AddressClip.Config):
        """Settings."""

        losses: tuple[Loss, ...] = Field(("address",), min_length=1, description="as of addressclip")

    config: Config
