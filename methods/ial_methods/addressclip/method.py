"""AddressCLIP: CLIP's towers trained on photos, addresses, captions and positions (Xu et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ial_bench import Candidates, MethodInfo, Photos, Sizes, Workload, distinct
from ial_bench.training.checkpoint import TrainingLog, put_tensors
from ial_bench.training.clip_method import ClipTrainingMethod
from ial_methods.addressclip.settings import PAPER, AddressClipConfig, Loss

if TYPE_CHECKING:
    import torch

    from ial_bench.training.loop import Group
    from ial_methods.addressclip.task import AddressClipTask


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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": PAPER}

    class Config(AddressClipConfig):
        """Settings."""

    config: Config

    def fit(self, train: Photos, val: Photos) -> None:
        """Train; the weights of the best epoch on val are kept."""
        if self.config.train == "none":
            self.context.report.log(f"{self.info.name}: neither tower is trained; this is zero-shot CLIP")
            self.facts["training"] = TrainingLog().as_dict()
            return
        task = self.task(train, val)
        self.facts["captions_cut"] = task.captions_cut  # too long for the text tower, with their addresses
        self.facts["training"] = task.trainer.run().as_dict()

    def task(self, train: Photos, val: Photos) -> AddressClipTask:
        """The training that `fit` runs."""
        from ial_methods.addressclip.task import AddressClipTask

        return AddressClipTask(
            self.info.name, self.config, self.context, self.towers, self.groups(), train, self.decoded,
            partial(self.ssa1, val),
        )  # fmt: skip

    def workload(self, sizes: Sizes) -> Workload:
        """That of any training, or the candidates' texts alone."""
        if self.config.train == "none":
            return replace(super().workload(replace(sizes, train=0, val=0)), trained=0.0)
        return super().workload(sizes)

    def step_tokens(self, sizes: Sizes) -> float:
        """Each different address of a batch, and each caption with its address."""
        batch = min(self.config.batch_size, sizes.train)
        address = distinct(batch, sizes.candidates) * sizes.tokens if "address" in self.config.losses else 0.0
        captioned = "caption" in self.config.losses and sizes.caption_tokens > 0
        return address + (batch * min(sizes.caption_tokens + sizes.tokens, sizes.context) if captioned else 0.0)

    def encode_texts(self, candidates: Candidates) -> torch.Tensor:
        return self.towers.encode_tokens(self.towers.tokenize(self.config.address_texts(candidates)))

    def groups(self) -> list[Group]:
        """The trained parameters. From here on only these ask for gradients."""
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
        return {n: p for n, p in self.towers.named_parameters() if p.requires_grad}

    def restore_trained(self, tensors: Mapping[str, torch.Tensor]) -> None:
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
        losses: tuple[Loss, ...] = Field(("address",), min_length=1, description="as of addressclip")

    config: Config
