"""Models of the sigmoid loss (SigLIP): a bias beside the scale, no softmax, in scores, losses and probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.loss import SigLipLoss
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.load import load_encoder
from ial_bench.engine import fitted_methods
from ial_bench.engine.answering import answer, fitted
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.predictions import read_predictions
from ial_bench.engine.record import RunRecord
from ial_bench.engine.run import Engine
from ial_bench.method import Method, RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.report.calibration import confidence
from ial_bench.settings import config_from_text
from ial_bench.topk import TopK, sigmoid
from ial_bench.training.task import match_loss
from ial_methods.addressclip.losses import info_nce, sigmoid_loss
from support.published_models import HUB, SIGMOID, made, weights_of, write_tokenizer

QUICK = {"epochs": "1", "batch_size": "16"}


@pytest.fixture
def backbone(tmp_path: Path) -> str:
    config = tmp_path / "sigmoid.json"
    config.write_text(json.dumps(SIGMOID))
    return f"openclip:{config}/{weights_of(SIGMOID, tmp_path / 'w.safetensors')}"


class Bench:
    """An engine on a folder of its own."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset = dataset
        self.options = EngineOptions(folder / "results", folder / "cache", timing=False, batch_size=8, k=6)
        self.store = FeatureStore(self.options.cache, "cpu", 8, 0, NoReport())
        self.engine = Engine(dataset, self.options, self.store, NoReport())

    def run(self, name: str, **settings: str) -> RunRecord:
        cls = Registry().get(name)
        choice = ConfiguredMethod(cls, config_from_text(cls, settings), "ial-bench")
        (planned,) = plan(self.dataset, [choice], (0,), self.options, self.store, NoReport())
        return self.engine.execute(planned)

    def top(self, record: RunRecord) -> TopK:
        assert record.predictions is not None
        folder = self.options.results / self.dataset.name / record.method.name
        return read_predictions(folder / record.predictions.path)[1]

    def fitted(self, record: RunRecord) -> Method:
        folder = fitted_methods.kept(self.options.cache, record.run_id)
        assert folder is not None
        context = RunContext(0, "cpu", self.store, NoReport(), cache=self.options.cache)
        return fitted(Registry().get(record.method.name), record, folder, context)


def test_zero_shot_gives_the_logits_of_open_clip(backbone: str, tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    record = bench.run("clip-zero-shot", backbone=backbone, templates='["{address}"]')
    assert record.status == "done", record.reason
    assert record.method.scores == "sigmoid"
    torch.manual_seed(7)
    model, encoder = made(SIGMOID), load_encoder(backbone, "cpu")
    queries = tiny_city.split("query")
    pixels = torch.stack([encoder.preprocess(queries.image(i)) for i in range(len(queries))])
    tokens = open_clip.SimpleTokenizer(context_length=16)(tiny_city.candidates.texts)
    with torch.no_grad():
        expected, _ = model.get_logits(pixels, tokens)
    top = bench.top(record)
    found = np.take_along_axis(top.scores, np.argsort(top.indices, axis=1), axis=1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert top.log_sum is None  # no softmax over all candidates
    (answered,) = answer(bench.fitted(record), [queries.path(0)], tiny_city, top=6)
    given = np.array([a.probability for a in answered.answers], dtype=np.float64)
    np.testing.assert_allclose(given, np.sort(torch.sigmoid(expected[0]).numpy())[::-1], rtol=1e-3)
    assert given.sum() != pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tip-adapter", {}),
        ("tip-adapter-f", QUICK),
        ("clip-adapter", {**QUICK, "ratio_grid": "[0.2]"}),
        ("coop", {**QUICK, "n_context": "2"}),
        ("cocoop", {**QUICK, "n_context": "2"}),
        ("maple", {**QUICK, "n_context": "2", "init": "null"}),
        ("clip-address", QUICK),
        ("addressclip", QUICK),
        ("fusion", QUICK),
        ("retrieval-tuned", QUICK),
    ],
)
def test_methods_run_and_answer_alike_when_taken_up_again(
    name: str, settings: dict[str, str], backbone: str, tiny_city: Dataset, tmp_path: Path
) -> None:
    bench = Bench(tiny_city, tmp_path)
    record = bench.run(name, backbone=backbone, **settings)
    assert record.status == "done", record.reason
    kind = {"fusion": "logits", "retrieval-tuned": "order"}.get(name, "sigmoid")
    assert record.method.scores == kind
    top = bench.top(record)
    assert (top.log_sum is None) == (kind != "logits")
    queries = tiny_city.split("query")
    (again,) = answer(bench.fitted(record), [queries.path(0)], tiny_city, top=6)
    np.testing.assert_allclose([a.score for a in again.answers], top.scores[0], rtol=1e-4, atol=1e-4)
    if kind == "sigmoid":
        given = np.array([a.probability for a in again.answers], dtype=np.float64)
        np.testing.assert_allclose(given, sigmoid(np.array([a.score for a in again.answers], np.float32)))


@pytest.mark.parametrize("name", ["clip-zero-shot", "addressclip", "tip-adapter-f", "coop"])
def test_with_a_tokenizer_of_the_hub(name: str, tiny_city: Dataset, tmp_path: Path) -> None:
    """As SigLIP has one: it lies beside the checkpoint. Prompts alone need CLIP's."""
    config = tmp_path / "hub.json"
    config.write_text(json.dumps(HUB))
    weights = weights_of(HUB, tmp_path / "w.safetensors")
    write_tokenizer(tmp_path)
    settings = {} if name == "clip-zero-shot" else QUICK
    record = Bench(tiny_city, tmp_path).run(name, backbone=f"openclip:{config}/{weights}", **settings)
    if name == "coop":
        assert record.status == "skipped"
        assert "prompts need CLIP's tokenizer; this model has a HFTokenizer" in str(record.reason)
    else:
        assert record.status == "done", record.reason
        assert record.method.scores == "sigmoid"


def test_the_bias_is_trained_with_the_towers(backbone: str, tiny_city: Dataset, tmp_path: Path) -> None:
    bench = Bench(tiny_city, tmp_path)
    record = bench.run("clip-address", backbone=backbone, learning_rate="0.01", **QUICK)
    towers: Any = bench.fitted(record).towers  # type: ignore[attr-defined]
    assert towers.logit_bias.item() != -10


def pairs(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    images, texts = torch.randn(2, n, 8, generator=generator)
    return images, texts


def test_the_loss_is_siglips() -> None:
    images, texts = pairs()
    unit = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
    expected = SigLipLoss()(*unit, torch.tensor(10.0), torch.tensor(-3.0))
    torch.testing.assert_close(sigmoid_loss(images, texts, torch.arange(6), 10.0, -3.0), expected)
    assert sigmoid_loss(images, texts, torch.arange(6), 10.0, -3.0) != info_nce(images, texts, 10.0)


def test_photos_that_share_a_text_are_all_its_own() -> None:
    """Repeated texts are no wrong answers to each other's photos: brute force over all pairs."""
    images, texts = pairs()
    owners = torch.tensor([0, 1, 0, 2, 1, 0])
    total = 0.0
    for i in range(6):
        for j in range(6):
            cosine = float(F.cosine_similarity(images[i], texts[j], dim=0))
            logit = 10.0 * cosine - 3.0
            sign = 1.0 if owners[i] == owners[j] else -1.0
            total += float(np.log1p(np.exp(-sign * logit)))
    assert float(sigmoid_loss(images, texts, owners, 10.0, -3.0)) == pytest.approx(total / 6, rel=1e-5)


def test_the_loss_of_known_candidates() -> None:
    logits, target = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 6, 3, 3, 1])
    right = F.one_hot(target, 7).float()
    expected = F.binary_cross_entropy_with_logits(logits, right, reduction="sum") / 5
    torch.testing.assert_close(match_loss(logits, target, "sigmoid"), expected)
    torch.testing.assert_close(match_loss(logits, target, "logits"), F.cross_entropy(logits, target))


def test_confidence_of_sigmoid_scores_needs_no_others() -> None:
    top = TopK(np.array([[1, 0]], np.int32), np.array([[-2.0, -900.0]], np.float32))
    found = confidence(top, 5, "sigmoid")
    assert found is not None
    np.testing.assert_allclose(found, 1 / (1 + np.exp(2.0)))
    assert confidence(top, 5, "order") is None
    assert confidence(top, 5, "logits") is None
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0, 1e4], np.float32)), [0, 0.5, 1])
