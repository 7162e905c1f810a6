"""One of several processes of a training, for `test_ranks.py`: trains, and stores the weights it ended with.

python ranks_worker.py CITY OUT METHOD...: METHOD is addressclip, location, multi-similarity, cosface, batch-norm or
features; each has a folder in OUT.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ial_bench import Candidates, MethodInfo, Photos
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.method import Method, RunContext
from ial_bench.progress import NoReport
from ial_bench.testing import CHECK_BACKBONE
from ial_bench.training.checkpoint import trained_tensors
from ial_bench.training.feature_method import FeatureTrainingMethod
from ial_bench.training.ranks import Ranks
from ial_methods.addressclip.method import AddressClip
from ial_methods.retrieval.tuned import RetrievalTuned
from ial_methods.two_stage.location import TwoStageLocation

COMMON = {"backbone": CHECK_BACKBONE, "epochs": 2, "batch_size": 12, "learning_rate": 0.003}

BATCH_NORMS = "timm:test_efficientnet/random-init"


class LinearHead(FeatureTrainingMethod):
    """A linear layer on features, with few candidates a step."""

    info = MethodInfo(name="linear-head", title="Linear head", family="test", stochastic=True)

    def build(self, candidates: Candidates) -> nn.Module:
        torch.manual_seed(self.context.seed)
        return nn.Linear(32, len(candidates))

    def logits(self, x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        out: torch.Tensor = self.head(x)
        return out if some is None else out[:, some]


def trained(city: Path, kind: str, cache: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights at the end, and the epochs' log."""
    data = Dataset(city)
    context = RunContext(3, "cpu", FeatureStore(cache, "cpu", 8, 0, NoReport()), NoReport(), batch_size=8)
    train, val = data.split("train"), data.split("val")
    # Plain steps, not Adam's: those blow up gradients that are zero but for rounding, as of the keys' biases.
    plain = {"optimiser": "sgd", "learning_rate": 0.05, "clip_norm": None}
    if kind in {"multi-similarity", "cosface"}:
        pooling = "netvlad:3" if kind == "cosface" else "encoder"
        metric = {**COMMON, **plain, "loss": kind, "pooling": pooling}
        tuned = RetrievalTuned(RetrievalTuned.Config.model_validate(metric), context)
        tuned.fit(train, _few(val))
        return trained_tensors(tuned.tower), tuned.facts["training"]["epochs"]
    if kind == "batch-norm":
        metric = {**COMMON, **plain, "loss": "multi-similarity", "backbone": BATCH_NORMS}
        tuned = RetrievalTuned(RetrievalTuned.Config.model_validate(metric), context)
        tuned.fit(train, _few(val))
        tensors = {n: t.detach().clone().contiguous() for n, t in tuned.tower.tensors().items()}
        return tensors, tuned.facts["training"]["epochs"]
    if kind == "location":
        small = {"width": 16, "photo_width": 16, "dim": 8, "frequencies": 8, "extra_positions": 5}
        location = TwoStageLocation(TwoStageLocation.Config.model_validate({**COMMON, **plain, **small}), context)
        location.fit(train, _few(val))
        return trained_tensors(location.stage1.model), location.stage1.facts()["training"]["epochs"]
    if kind == "addressclip":
        settings = {**COMMON, **plain, "positives": "all", "min_scale": 0.8, "jitter": 0.1}
        clip = AddressClip(AddressClip.Config.model_validate(settings), context)
        clip.fit(train, _few(val))
        return {n: t.detach().clone() for n, t in clip.trained_state().items()}, clip.facts["training"]["epochs"]
    config = LinearHead.Config.model_validate({**COMMON, "candidates_per_step": 5})
    method: Method = LinearHead(config, context)
    method.fit(train, _few(val))
    assert isinstance(method, LinearHead)
    return trained_tensors(method.head), method.facts["training"]["epochs"]


def _few(photos: Photos) -> Photos:
    return photos.part(np.arange(0))  # without val the last epoch is kept


if __name__ == "__main__":
    ranks = Ranks("cpu")
    city, out, *kinds = sys.argv[1:]
    for kind in kinds:
        folder = Path(out) / kind
        folder.mkdir(parents=True, exist_ok=True)
        weights, epochs = trained(Path(city), kind, folder / f"cache{ranks.rank}")
        losses = {f"loss {i} {n}": torch.tensor(v) for i, e in enumerate(epochs) for n, v in e["losses"].items()}
        main = float(ranks.tell({"rank": ranks.rank} if ranks.main else None)["rank"])
        told = torch.tensor([main, float(ranks.size)])
        save_file({**weights, **losses, "told": told}, folder / f"{ranks.rank}.safetensors")
    ranks.wait()
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # what was to be done is done; torch now and then aborts while it takes its threads down
