"""AddressCLIP's training on one dataset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ial_bench import Photos, RunContext, SkipMethod, chunks
from ial_bench.datasets.loader import DecodedPhotos
from ial_bench.encoders.blocks import repeatable_rows
from ial_bench.encoders.towers import ClipTowers
from ial_bench.geo.projections import utm_metres
from ial_bench.training.loop import Group, full_precision
from ial_bench.training.sampler import BatchSampler, Rows
from ial_bench.training.task import PhotoTask
from ial_methods.addressclip.losses import geography_loss, info_nce, multi_positive_nce, position_range, sigmoid_loss
from ial_methods.addressclip.settings import AddressClipConfig

Tokens: TypeAlias = npt.NDArray[np.int32]

_BLOCK = 4096  # captions that are tokenized at once
_MAX_LOG_SCALE = float(np.log(100.0))  # CLIP's own bound
_NONE: Tokens = np.zeros(0, np.int32)


@dataclass(frozen=True)
class TokenRows:
    """Tokens of many texts, without what fills up the end of each: less memory than the texts themselves.

    Attributes:
        context: tokens of a text with what fills it up.
        body: int32, the tokens of all texts, one behind the other.
        ends: int64 [n + 1]: those of text i are ``body[ends[i]:ends[i + 1]]``.
        filling: int32 [n]: the token that fills up text i.
    """

    context: int
    body: Tokens
    ends: npt.NDArray[np.int64]
    filling: Tokens

    @classmethod
    def joined(cls, towers: ClipTowers, heads: Sequence[str], tails: Sequence[str]) -> tuple[TokenRows, int]:
        """``head, tail`` of each pair as `ClipTowers.tokenize_joined` has it, and how many were too long."""
        bodies, lengths, fillings, cut = [_NONE], [_NONE], [_NONE], 0
        for part in chunks(len(heads), _BLOCK):
            tokens, too_long = towers.tokenize_joined(heads[part], tails[part])
            rows = tokens.cpu().numpy().astype(np.int32)
            last = rows[:, -1:]
            own = np.logical_or.accumulate((rows != last)[:, ::-1], axis=1)[:, ::-1]  # up to where the last one begins
            bodies.append(rows[own])
            lengths.append(own.sum(axis=1, dtype=np.int32))
            fillings.append(last[:, 0])
            cut += too_long
        ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        return cls(towers.context_length, np.concatenate(bodies), ends, np.concatenate(fillings)), cut

    def of(self, texts: Sequence[int]) -> torch.Tensor:
        """int64 [n, context]: the tokens of some texts, as they were made."""
        rows = np.repeat(self.filling[texts][:, None], self.context, axis=1).astype(np.int64)
        for row, text in zip(rows, texts, strict=True):
            body = self.body[self.ends[text] : self.ends[text + 1]]
            row[: len(body)] = body
        return torch.from_numpy(rows)


class AddressClipTask(PhotoTask):
    """Photos against addresses and captions, and feature distances against those on the map.

    Arguments not named here are those of `PhotoTask`.

    Args:
        config: settings.
        towers: both are trained, or one of them.
        groups: their trained parameters.
    """

    config: AddressClipConfig

    def __init__(
        self, name: str, config: AddressClipConfig, context: RunContext, towers: ClipTowers, groups: list[Group],
        train: Photos, kept: DecodedPhotos, val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, towers, train, towers.preprocessing, kept, val_ssa1)
        self._towers, self._losses = towers, set(config.losses)
        self._groups = [g for g in groups if g.parameters]
        captions = self.photos.captions if "caption" in self._losses else []
        if "caption" in self._losses and not any(captions):
            captions = []
            self._losses.discard("caption")
            context.report.log(f"{name}: the dataset has no captions; training without L_caption")
            if not self._losses:
                raise SkipMethod("the dataset has no captions, and L_caption is the only loss asked for")
        self._address_texts = config.address_texts(train.candidates)
        self._address_tokens = towers.tokenize(self._address_texts)
        self._take_captions(captions)
        self._positions = torch.from_numpy(utm_metres(self.photos.positions)) if "geography" in self._losses else None
        self._extent = None
        if self._positions is not None and config.geography_extent == "dataset":
            low, high = position_range(self._positions)
            self._extent = low.to(self.device), high.to(self.device)

    def sampler(self) -> BatchSampler:
        """With at most one photo of a place in a batch, where that is asked for."""
        places = self.photos.places if self.config.batches == "distinct-places" else None
        return BatchSampler(self.n, self.config.batch_size, self.context.seed, places, self.ranks.size)

    def groups(self) -> list[Group]:
        """Image tower, text tower, logit scale; without those that stay as they are."""
        return self._groups

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        config, towers, ranks = self.config, self._towers, self.ranks
        labels = self.labels[rows].to(self.device)
        images = ranks.gather(towers.encode_pixels(inputs.to(self.device, non_blocking=True)).float())
        texts: dict[str, torch.Tensor] = {}
        if "address" in self._losses:
            texts["address"] = ranks.gather(self._encode_addresses(labels))
        if "caption" in self._losses:
            texts["caption"] = ranks.gather(self._encode_captions(rows))
        with full_precision(self.device):
            joint = ranks.gather(labels)
            owners = {"address": joint, "caption": joint}
            if config.positives == "one" and "caption" in texts:
                owners["caption"] = ranks.gather(self._caption_ids[rows].to(self.device))
            parts = {name: self._contrast(images, features, owners[name]) for name, features in texts.items()}
            if self._positions is not None:
                where = ranks.gather(self._positions[rows].to(self.device))
                parts["geography"] = geography_loss(images, where, config.geography_target, self._extent)
            weights = {"address": config.weight_address, "caption": config.weight_caption}
            weights["geography"] = config.weight_geography
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return {"loss": total, **parts}

    def after_step(self) -> None:
        """Keep the logit scale where CLIP keeps it; SigLIP sets it no bound."""
        if self._towers.logit_bias is None:
            self._towers.model.logit_scale.clamp_(0, _MAX_LOG_SCALE)

    def _contrast(self, images: torch.Tensor, texts: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """The loss that the model was trained with: CLIP's, or SigLIP's where it has a bias."""
        scale, bias = self._towers.logit_scale.float(), self._towers.logit_bias
        if bias is not None:
            return sigmoid_loss(images, texts, owners, scale, bias.float())
        if self.config.positives == "one":
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
        tokens = self._captions.of([*first.values()]).to(self.device)
        place = {text: i for i, text in enumerate(first)}
        which = torch.tensor([place[text] for text in ids], device=tokens.device)
        return repeatable_rows(self._towers.encode_tokens(tokens).float(), which)

    def _take_captions(self, captions: Sequence[str]) -> None:
        """Tokens of each photo's caption with its address, and which photos have the same; count what is cut."""
        labels = self.photos.labels.tolist()[: len(captions)]
        tails = [self._address_texts[a] for a in labels]
        self._captions, self.captions_cut = TokenRows.joined(self._towers, captions, tails)
        self._caption_ids = _ids([*zip(captions, labels, strict=True)])


def _ids(values: Sequence[Hashable]) -> torch.Tensor:
    """int64 [n]: equal numbers for equal values."""
    known: dict[Hashable, int] = {}
    return torch.tensor([known.setdefault(value, len(known)) for value in values], dtype=torch.long)
