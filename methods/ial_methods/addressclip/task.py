"""AddressCLIP's training on one dataset."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ial_bench import Photos, SkipMethod
from ial_bench.encoders.blocks import repeatable_rows
from ial_bench.geo.projections import utm_metres
from ial_bench.training.augmentation import Augmentation, pixel_batches
from ial_bench.training.loop import Group, Trainer, full_precision
from ial_bench.training.order import BatchOrder, Rows
from ial_bench.training.ranks import Ranks
from ial_methods.addressclip.captions import TokenRows
from ial_methods.addressclip.losses import geography_loss, info_nce, multi_positive_nce, position_range, sigmoid_loss

if TYPE_CHECKING:
    from ial_methods.addressclip.method import AddressClip

_MAX_LOG_SCALE = float(np.log(100.0))  # CLIP's own bound


class AddressClipTask:
    """Photos against addresses and captions, and feature distances against those on the map.

    Raises:
        SkipMethod: there is nothing to learn from.
    """

    def __init__(self, method: AddressClip, train: Photos, val: Photos) -> None:
        config, context, towers = method.config, method.context, method.towers
        self._method, self._val, self._towers = method, val, towers
        self._train = train.part(np.flatnonzero(train.labels >= 0))
        self._losses = set(config.losses)
        if len(self._train) == 0:
            raise SkipMethod("there are no train photos to learn from")
        captions = self._train.captions if "caption" in self._losses else []
        if "caption" in self._losses and not any(captions):
            captions = []
            self._losses.discard("caption")
            context.report.log(f"{method.info.name}: the dataset has no captions; training without L_caption")
            if not self._losses:
                raise SkipMethod("the dataset has no captions, and L_caption is the only loss asked for")
        self._address_texts = method.address_texts(train.candidates)
        self._address_tokens = towers.tokenize(self._address_texts)
        self._labels = torch.from_numpy(self._train.labels.astype(np.int64))
        self._take_captions(captions)
        self._positions = torch.from_numpy(utm_metres(self._train.positions)) if "geography" in self._losses else None
        self._extent = None
        if self._positions is not None and config.geography_extent == "dataset":
            low, high = position_range(self._positions)
            self._extent = low.to(towers.device), high.to(towers.device)
        self._view = Augmentation.of(towers.preprocessing, config)
        self._groups = [g for g in method.groups() if g.parameters]
        self._ranks = Ranks()
        places = self._train.places if config.batches == "distinct-places" else None
        order = BatchOrder(len(self._train), config.batch_size, context.seed, places, self._ranks.size)
        self.trainer = Trainer(method.info.name, self, config, order, context, self._ranks)

    @property
    def module(self) -> nn.Module:
        """Both towers."""
        return self._towers

    def groups(self) -> list[Group]:
        """Image tower, text tower, logit scale; without those that stay as they are."""
        return self._groups

    def inputs(self, batches: list[Rows], epoch: int) -> Iterator[torch.Tensor]:
        """Pixels of each batch."""
        context, kept = self._method.context, self._method.decoded
        pin = context.device.startswith("cuda")
        yield from pixel_batches(
            self._train, self._view, batches, context.seed, epoch, context.workers, pin=pin, kept=kept
        )

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The parts, and their weighted sum."""
        config, towers, ranks = self._method.config, self._towers, self._ranks
        labels = self._labels[rows].to(towers.device)
        images = ranks.gather(towers.encode_pixels(inputs.to(towers.device, non_blocking=True)).float())
        texts: dict[str, torch.Tensor] = {}
        if "address" in self._losses:
            texts["address"] = ranks.gather(self._encode_addresses(labels))
        if "caption" in self._losses:
            texts["caption"] = ranks.gather(self._encode_captions(rows))
        with full_precision(towers.device):
            joint = ranks.gather(labels)
            owners = {"address": joint, "caption": joint}
            if config.positives == "one" and "caption" in texts:
                owners["caption"] = ranks.gather(self._caption_ids[rows].to(towers.device))
            parts = {name: self._contrast(images, features, owners[name]) for name, features in texts.items()}
            if self._positions is not None:
                where = ranks.gather(self._positions[rows].to(towers.device))
                parts["geography"] = geography_loss(images, where, config.geography_target, self._extent)
            weights = {"address": config.weight_address, "caption": config.weight_caption}
            weights["geography"] = config.weight_geography
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return {"loss": total, **parts}

    def after_step(self) -> None:
        """Keep the logit scale where CLIP keeps it; SigLIP sets it no bound."""
        if self._towers.logit_bias is None:
            self._towers.model.logit_scale.clamp_(0, _MAX_LOG_SCALE)

    def val_ssa1(self) -> float | None:
        """SSA-1 on val."""
        return self._method.ssa1(self._val)

    def _contrast(self, images: torch.Tensor, texts: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """The loss that the model was trained with: CLIP's, or SigLIP's where it has a bias."""
        scale, bias = self._towers.logit_scale.float(), self._towers.logit_bias
        if bias is not None:
            return sigmoid_loss(images, texts, owners, scale, bias.float())
        if self._method.config.positives == "one":
            return info_nce(images, texts, scale)
        return multi_positive_nce(images, texts, owners, scale)

    def _encode_addresses(self, labels: torch.Tensor) -> torch.Tensor:
        """[b, d]: each different address of the batch goes through the text tower once."""
        different, which = torch.unique(labels, return_inverse=True)
        return repeatable_rows(self._towers.encode_tokens(self._address_tokens[different]).float(), which)

    def _encode_captions(self, rows: Rows) -> torch.Tensor:
        """[b, d]: each different caption with address of the batch goes through the text tower once."""
        ids = self._caption_ids[rows].tolist()
        first: dict[int, int] = {}
        for text, row in zip(ids, rows.tolist(), strict=True):
            first.setdefault(text, row)
        tokens = self._captions.of([*first.values()]).to(self._towers.device)
        place = {text: i for i, text in enumerate(first)}
        which = torch.tensor([place[text] for text in ids], device=tokens.device)
        return repeatable_rows(self._towers.encode_tokens(tokens).float(), which)

    def _take_captions(self, captions: Sequence[str]) -> None:
        """Tokens of each photo's caption with its address, and which photos have the same; count what is cut."""
        labels = self._train.labels.tolist()[: len(captions)]
        tails = [self._address_texts[a] for a in labels]
        self._captions, self.captions_cut = TokenRows.joined(self._towers, captions, tails)
        self._caption_ids = _ids([*zip(captions, labels, strict=True)])


def _ids(values: Sequence[Hashable]) -> torch.Tensor:
    """int64 [n]: equal numbers for equal values."""
    known: dict[Hashable, int] = {}
    return torch.tensor([known.setdefault(value, len(known)) for value in values], dtype=torch.long)
