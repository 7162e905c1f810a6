"""Training tasks: which photos they learn from, and what a step is measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ial_bench import Features, SkipMethod
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.training.config import PhotoTrainingConfig
from ial_bench.training.task import FeatureMatchTask, FeatureTask, PhotoMatchTask, match_loss

PREPROCESSING = {"size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
CONFIG = PhotoTrainingConfig(epochs=3, batch_size=16, learning_rate=0.05)


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(0, "cpu", FeatureStore(tmp_path, "cpu", 8, 0, NoReport()), NoReport())


class Unlabelled:
    """Some photos of a split have an address that is no candidate."""

    def __init__(self, data: Dataset, every: int) -> None:
        photos = data.split("train")
        self.labels = photos.labels.copy()
        self.labels[::every] = -1
        self.photos, self.candidates = photos, data.candidates

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: Any) -> Any:
        return self.photos.part(rows)


def features_task(context: RunContext, photos: Any, size: int | None = None, net: Any = None) -> FeatureMatchTask:
    x = np.random.default_rng(0).normal(size=(len(photos), 4)).astype(np.float32)
    head = nn.Linear(4, len(photos.candidates)) if net is None else net

    def logits(x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        out: torch.Tensor = head(x)
        return out if some is None else out[:, some]

    return FeatureMatchTask("made", CONFIG, context, head, Features(x, photos), logits, size, "logits", lambda: None)


def photo_task(context: RunContext, photos: Any) -> PhotoMatchTask:
    head = nn.Linear(3, len(photos.candidates))

    def logits(x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        out: torch.Tensor = head(x)
        return out if some is None else out[:, some]

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean(dim=(2, 3))

    kept: Any = None
    return PhotoMatchTask(
        "made", CONFIG, context, head, photos, PREPROCESSING, kept, encode, logits, None, "logits", lambda: None
    )


@pytest.mark.parametrize("make", [features_task, photo_task])
def test_it_learns_from_labelled_photos_alone(make: Any, tiny_city: Dataset, context: RunContext) -> None:
    photos = Unlabelled(tiny_city, 3)
    task = make(context, photos)
    labelled = np.flatnonzero(photos.labels >= 0)
    assert task.n == len(labelled) < len(photos)
    log = task.trainer.run()
    assert log.epochs[-1]["losses"]["loss"] < log.epochs[0]["losses"]["loss"]
    assert log.best_epoch == 3  # without val, the last


@pytest.mark.parametrize("make", [features_task, photo_task])
def test_without_labelled_photos_there_is_nothing_to_learn(make: Any, tiny_city: Dataset, context: RunContext) -> None:
    with pytest.raises(SkipMethod, match="there are no train photos to learn from"):
        make(context, Unlabelled(tiny_city, 1))


def test_rows_are_those_of_the_labelled_features(tiny_city: Dataset, context: RunContext) -> None:
    photos = Unlabelled(tiny_city, 2)
    task = features_task(context, photos)
    (x,) = task.inputs([np.array([0, 3])], 0)
    labelled = np.flatnonzero(photos.labels >= 0)
    np.testing.assert_array_equal(x.numpy(), task.x[labelled[[0, 3]]])


@pytest.mark.parametrize("size", [None, 3, 6])
def test_a_step_is_measured_against_its_candidates(size: int | None, tiny_city: Dataset, context: RunContext) -> None:
    asked: list[Any] = []
    net = nn.Linear(4, 6)
    task = features_task(context, tiny_city.split("train"), size, net)
    given = task._logits

    def logits(x: torch.Tensor, some: torch.Tensor | None) -> torch.Tensor:
        asked.append(some)
        return given(x, some)

    task._logits = logits
    labels = tiny_city.split("train").labels
    rows = np.concatenate([np.flatnonzero(labels == address)[:3] for address in (2, 4)])
    (x,) = task.inputs([rows], 0)
    loss = task.losses(rows, x)["loss"]
    if size == 3:
        assert len(asked[0]) == 3
        assert {2, 4} <= set(asked[0].tolist())
        columns = asked[0].tolist()
    else:
        assert asked == [None]
        columns = list(range(6))
    target = torch.tensor([columns.index(int(label)) for label in labels[rows]])
    torch.testing.assert_close(loss, match_loss(net(x)[:, columns], target, "logits"))


def test_features_are_brought_to_unit_norm_where_asked(context: RunContext) -> None:
    class Plain(FeatureTask):
        def losses(self, rows: Any, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": inputs.sum()}

    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    rows = np.array([4, 1, 2])
    for unit in (True, False):
        task = Plain("made", CONFIG, context, nn.Linear(3, 1), x, rows, lambda: None, unit=unit)
        (found,) = task.inputs([np.array([2, 0])], 0)
        expected = x[[2, 4]] / (np.linalg.norm(x[[2, 4]], axis=1, keepdims=True) if unit else 1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_frozen_parameters_are_not_trained(context: RunContext, tiny_city: Dataset) -> None:
    net = nn.Linear(4, 6)
    net.bias.requires_grad = False
    task = features_task(context, tiny_city.split("train"), None, net)
    (group,) = task.groups()
    assert [p is net.weight for p in group.parameters] == [True]
