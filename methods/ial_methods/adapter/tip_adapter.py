"""Tip-Adapter and Tip-Adapter-F: zero-shot CLIP with a cache of labelled photos (Zhang et al., ECCV 2022)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import (
    PHOTO,
    Candidates,
    Effort,
    Features,
    FrozenTextMethod,
    MethodInfo,
    Sizes,
    SkipMethod,
    State,
    Workload,
    chunks,
    generator,
    unit_norm,
)
from ial_bench.files import storage_errors
from ial_bench.training.feature_method import FeatureTrainingMethod
from ial_methods.clip.zero_shot import TemplateSettings, scaled_texts

if TYPE_CHECKING:
    import torch

    from ial_methods.adapter.cache import CacheModel

KEY_BLOCK = 4096  # keys that are looked at together
_IN_MEMORY_BYTES = 1 << 30
_DEFAULT_ALPHA, _DEFAULT_BETA = 1.0, 5.5  # the best in the paper's ablation; for datasets without a val split
_FLOPS_AN_EXPONENTIAL = 20  # by what it takes
_PAPER = {
    "keys_per_address": 16,
    "alpha_grid": tuple(0.1 + i * (3 - 0.1) / 20 for i in range(20)),
    "beta_grid": tuple(0.1 + i * (7 - 0.1) / 200 for i in range(200)),
}
_PAPER_F = {
    **_PAPER, "train_alpha": 1.17, "train_beta": 1.0, "epochs": 20, "batch_size": 256, "optimiser": "adamw",
    "learning_rate": 1e-3, "final_rate": 0.0, "warm_up": 0.0, "betas": (0.9, 0.999), "epsilon": 1e-4,
    "weight_decay": 0.01, "clip_norm": None,
}  # fmt: skip


@dataclass(frozen=True)
class CacheParameters:
    """The weight and sharpness of a cache model, as chosen on val.

    Attributes:
        alpha: weight of the cache's votes beside the text logits.
        beta: sharpness of the votes.
        val_ssa1: SSA-1 on val with them, None without a choice.
    """

    alpha: float
    beta: float
    val_ssa1: float | None = None

    def as_array(self) -> npt.NDArray[np.float64]:
        """float64 [3]; NaN for None."""
        return np.array([self.alpha, self.beta, np.nan if self.val_ssa1 is None else self.val_ssa1])

    @classmethod
    def from_array(cls, stored: npt.NDArray[np.float64]) -> CacheParameters:
        """What `as_array` gave."""
        alpha, beta, ssa1 = stored.tolist()
        return cls(alpha, beta, None if np.isnan(ssa1) else ssa1)


Cache: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]


class CacheMethod(FrozenTextMethod):
    """Text logits, and the votes of cached train photos; their weight and sharpness are chosen on val."""

    class Config(TemplateSettings, FrozenTextMethod.Config):
        keys_per_address: int | None = Field(
            None, ge=1, description="train photos of an address that are cached, drawn at random; null: all"
        )
        alpha_grid: tuple[float, ...] = Field(
            (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9),
            min_length=1,
            description="weights of the cache beside the texts to choose from; one value fixes it. Where cosines are "
            "all alike, sharp votes are small, and count only with a large weight",
        )
        beta_grid: tuple[float, ...] = Field(
            (1.0, 2.0, 5.5, 10.0, 20.0, 50.0, 100.0, 200.0),
            min_length=1,
            description="sharpness of the cache to choose from; one value fixes it",
        )

    config: Config
    choice: CacheParameters

    def cache(self, train: Features, rng: np.random.Generator) -> Cache:
        """Text features, keys and their labels.

        Raises:
            SkipMethod: there is nothing to cache.
        """
        rows = choose_rows(train.labels, self.config.keys_per_address, rng)
        if len(rows) == 0:
            raise SkipMethod("there are no train photos to learn from")
        texts = scaled_texts(self.context.features, self.backbone, train.photos.candidates, self.config.templates)
        return texts, unit_rows(train.x, rows, self.context.work), train.labels[rows]

    def cache_model(
        self, texts: npt.NDArray[np.float32], keys: npt.NDArray[np.float32], labels: npt.NDArray[np.int32],
        *, tuned: bool = False,
    ) -> CacheModel:  # fmt: skip
        """The model of a cache, on the device; with `tuned` its keys are trained."""
        import torch

        from ial_methods.adapter.cache import CacheModel

        held = torch.tensor(keys) if tuned else torch.from_numpy(keys)  # training must not change what it began from
        own = torch.from_numpy(labels.astype(np.int64))
        bias = self.logit_bias or 0.0
        model = CacheModel(torch.from_numpy(texts), held, own, tuned=tuned, bias=bias, block=KEY_BLOCK)
        return model.placed(self.context.device)

    def chosen(self, model: CacheModel, val: Features) -> CacheParameters:
        """The best alpha and beta on val, or defaults without it."""
        from ial_methods.adapter.cache import choose

        alphas, betas, report = self.config.alpha_grid, self.config.beta_grid, self.context.report
        if len(val):
            return CacheParameters(*choose(model, val, alphas, betas, report, self.info.name))
        alpha = alphas[0] if len(alphas) == 1 else _DEFAULT_ALPHA
        beta = betas[0] if len(betas) == 1 else _DEFAULT_BETA
        report.log(f"{self.info.name}: no val split to choose on; taking alpha {alpha:g} and beta {beta:g}")
        return CacheParameters(alpha, beta)

    def record(self, keys: int) -> None:
        """Put the choice, and the number of keys, into the facts."""
        choice = self.choice
        self.facts |= {"alpha": choice.alpha, "beta": choice.beta, "val_ssa1": choice.val_ssa1, "keys": keys}

    def most_keys(self, sizes: Sizes) -> int:
        """Keys that are cached, at most."""
        each = self.config.keys_per_address
        return sizes.train if each is None else min(sizes.train, each * sizes.candidates)

    def choosing(self, sizes: Sizes, keys: int) -> Effort:
        """Every pair of the grids on val."""
        betas = len(self.config.beta_grid)
        answers = Effort(flops=4.0 * betas * len(self.config.alpha_grid) * sizes.candidates)
        return (_votes(sizes, keys, betas) + answers) * sizes.val


class TipAdapter(CacheMethod):
    """``f T' + alpha exp(-beta (1 - f K')) V``: text logits, and the votes of all cached train photos.

    Nothing is trained; alpha and beta are chosen on val. The keys K are taken in blocks, and lie in a memory-mapped
    file where they are more than 1 GiB. A few-shot cache is drawn from `draw_seed`, not from the run's seed, so that
    one run tells all.
    """

    info = MethodInfo(
        name="tip-adapter",
        title="Tip-Adapter",
        family="adapter",
        summary="Zero-shot CLIP plus the votes of all train photos, without training.",
        reference="Zhang et al., Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification, ECCV 2022",
        final_fit="train",
        scores="logits",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER}

    class Config(CacheMethod.Config):
        draw_seed: int = Field(0, ge=0, description="of the photos that are cached, with keys_per_address")

    config: Config

    def workload(self, sizes: Sizes) -> Workload:
        """The texts, and every choice on val; a query meets all keys."""
        keys = self.most_keys(sizes)
        fit = self.text_effort(sizes, len(self.config.templates)) + self.choosing(sizes, keys)
        held = 4.0 * keys * sizes.dim
        return Workload(fit, PHOTO + _votes(sizes, keys, 1), held=held, stored=held)

    def fit_features(self, train: Features, val: Features) -> None:
        """Fill the cache; choose alpha and beta on val."""
        rng = generator("tip-adapter keys", self.config.draw_seed)
        self._take(*self.cache(train, rng))
        self.choice = self.chosen(self.model, val)
        self.record(len(self.keys))

    def _take(
        self, texts: npt.NDArray[np.float32], keys: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]
    ) -> None:
        self.texts, self.keys, self.labels = texts, keys, labels
        self.model = self.cache_model(texts, keys, labels)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            features = torch.tensor(x, device=self.context.device)
            logits = self.model(features, self.choice.alpha, self.choice.beta)
        return np.asarray(logits.cpu().numpy())

    def state(self) -> State:
        chosen = self.choice.as_array()
        return {"texts": self.texts, "keys": self.keys, "labels": self.labels, "choice": chosen}

    def restore(self, state: State) -> None:
        self._take(np.array(state["texts"]), state["keys"], np.array(state["labels"]))
        self.choice = CacheParameters.from_array(state["choice"])

    def save(self, folder: Path) -> None:
        """Store the keys in a file of their own, which can be memory-mapped."""
        from safetensors.numpy import save_file

        rest = dict(self.state())
        np.save(folder / "keys.npy", rest.pop("keys"))
        save_file(rest, folder / "state.safetensors")

    def load(self, folder: Path) -> None:
        """Read what `save` stored; the keys only when they are needed."""
        from safetensors.numpy import load_file

        keys = np.load(folder / "keys.npy", mmap_mode="c")  # writable for torch's sake; nothing is written
        self.restore({**load_file(folder / "state.safetensors"), "keys": keys})


class TipAdapterF(CacheMethod, FeatureTrainingMethod):
    """Tip-Adapter whose keys are trained, from the cached features on (the paper's Tip-Adapter-F).

    It learns from all train photos, however few are cached. Alpha and beta are fixed while it trains, and chosen on
    val after that. Unlike Tip-Adapter it holds all its keys on the device: of m keys of d numbers, 16 m d bytes for
    keys, gradients and the optimiser's two moments, and about 12 m bytes a photo of a step; two million keys of CLIP
    ViT-B/16 in steps of 256 photos come to 22 GB. `keys_per_address` bounds them.
    """

    info = MethodInfo(
        name="tip-adapter-f",
        title="Tip-Adapter-F",
        family="adapter",
        summary="Tip-Adapter with trained keys.",
        reference=TipAdapter.info.reference,
        stochastic=True,
        final_fit="train",
        scores="logits",
        version="2",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER_F}

    class Config(CacheMethod.Config, FeatureTrainingMethod.Config):
        """Settings; the defaults of the schedule are sized for a city of some thousand photos."""

        train_alpha: float | None = Field(
            3.0, ge=0, description="alpha while training; null: the best on val before it, together with beta"
        )
        train_beta: float | None = Field(
            5.5, gt=0, description="beta while training; null: the best on val before it, together with alpha"
        )
        epochs: int = Field(20, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        batch_size: int = Field(256, ge=1, description="photos of a step, over all processes")

    config: Config
    head: CacheModel

    def workload(self, sizes: Sizes) -> Workload:
        """As of Tip-Adapter, and each photo of a step against all keys, both ways."""
        config, keys = self.config, self.most_keys(sizes)
        found, votes = super().workload(sizes), _votes(sizes, keys, 1)
        batch = min(config.batch_size, sizes.train)
        seen = 3 * config.steps_over(sizes.train) * batch + config.epochs * sizes.val
        fit = found.fit + votes * seen + self.choosing(sizes, keys)
        return replace(found, fit=fit, query=PHOTO + votes, trained=float(keys * sizes.dim), held=12.0 * keys * batch)

    def fit_features(self, train: Features, val: Features) -> None:
        """Fill the cache, train its keys, then choose alpha and beta on val."""
        config = self.config
        self._begin = self.cache(train, self.context.rng("keys"))
        self.choice = CacheParameters(config.train_alpha or _DEFAULT_ALPHA, config.train_beta or _DEFAULT_BETA)
        if config.train_alpha is None or config.train_beta is None:
            free = self.chosen(self.cache_model(*self._begin), val)
            alpha = free.alpha if config.train_alpha is None else config.train_alpha
            beta = free.beta if config.train_beta is None else config.train_beta
            self.choice = CacheParameters(alpha, beta)
        trained_with = self.choice
        super().fit_features(train, val)
        del self._begin
        self.choice = self.chosen(self.head, val)
        self.facts |= {"train_alpha": trained_with.alpha, "train_beta": trained_with.beta}
        self.record(len(self.head.keys))

    def build(self, candidates: Candidates) -> CacheModel:  # noqa: ARG002 - their texts lie beside the cache
        """The cache model with the cached features as keys."""
        return self.cache_model(*self._begin, tuned=True)

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        return self.head(x, self.choice.alpha, self.choice.beta, some)  # type: ignore[no-any-return]

    def state(self) -> State:
        rest = {"texts": self.head.texts.cpu().numpy(), "labels": self.head.labels.numpy()}
        return {**super().state(), **rest, "choice": self.choice.as_array()}

    def restore(self, state: State) -> None:
        begin = np.array(state["texts"]), state["trained/keys"], np.array(state["labels"])
        self.choice = CacheParameters.from_array(state["choice"])
        self.head = self.cache_model(*begin, tuned=True)
        self.restore_head(state)


def choose_rows(
    labels: npt.NDArray[np.int32], per_address: int | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """int64 [m]: rows to cache, ordered by address; of each at most `per_address`, drawn without replacement.

    Rows whose address is no candidate (label -1) are left out.
    """
    rows = np.flatnonzero(labels >= 0)
    if per_address is not None:
        drawn = rng.permutation(rows)
        drawn = drawn[np.argsort(labels[drawn], kind="stable")]
        own = labels[drawn]
        place = np.arange(len(drawn)) - np.searchsorted(own, own)  # of each photo among its address's
        rows = np.sort(drawn[place < per_address])
    return rows[np.argsort(labels[rows], kind="stable")].astype(np.int64)


def unit_rows(x: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], folder: Path | None) -> npt.NDArray[np.float32]:
    """float32 [m, d]: unit features of `rows`; more than 1 GiB of them memory-mapped, in an unnamed file.

    Args:
        x: features, may be memory-mapped.
        rows: which.
        folder: where the file may lie; None: where temporary files do.

    Raises:
        StorageError: the file cannot be written.
    """
    shape = len(rows), x.shape[1]
    blocks = (unit_norm(np.asarray(x[rows[part]])) for part in chunks(len(rows), KEY_BLOCK))
    if shape[0] * shape[1] * 4 <= _IN_MEMORY_BYTES:
        return np.concatenate([np.zeros((0, shape[1]), np.float32), *blocks])
    with storage_errors(folder or Path(tempfile.gettempdir())), tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            file.write(block.tobytes())
        file.flush()
        return np.memmap(file, dtype=np.float32, mode="c", shape=shape)


def _votes(sizes: Sizes, keys: int, betas: int) -> Effort:
    """One photo against all keys: its products with them, and the votes of each block for its own addresses."""
    own = sizes.candidates * min(1.0, KEY_BLOCK / max(1, keys)) + 1
    return Effort(flops=keys * (2.0 * sizes.dim + betas * (_FLOPS_AN_EXPONENTIAL + 2.0 * own)))
