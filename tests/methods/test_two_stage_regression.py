"""The regression head: its loss by hand, a map that it can learn, the contract, a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ial_bench import Features, RunContext, unit_norm
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.features import FeatureStore
from ial_bench.geo.points import Points, haversine_m
from ial_bench.geo.projections import from_local_m, to_local_m
from ial_bench.progress import NoReport
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_methods.two_stage.regression import Regression, TwoStageRegression

PITTSBURGH = np.array([40.44, -79.95])
FIJI = np.array([-17.0, 180.0])
SMALL = {"backbone": CHECK_BACKBONE, "epochs": "2", "width": "16"}


def located(x: npt.NDArray[np.float32], positions: Points) -> Features:
    """Features with positions and a label for each."""

    class Held:
        candidates = range(len(x))

        def __init__(self) -> None:
            self.positions, self.labels = positions, np.arange(len(x), dtype=np.int32)

    held: Any = Held()
    return Features(x, held)


def stage(**settings: str) -> Regression:
    config: Any = config_from_text(TwoStageRegression, settings)
    store: Any = None
    return Regression(config, RunContext(0, "cpu", store, NoReport()), "two-stage-regression")


@pytest.mark.parametrize("city", [PITTSBURGH, FIJI])
def test_it_learns_where_photos_are(city: Points) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 8)).astype(np.float32)
    positions = from_local_m(
        unit_norm(x)[:, :2].astype(np.float64) * 800 + 3000, city
    )  # 3 km off, so that the middle must be found
    regression = stage(epochs="60", width="64", learning_rate="0.01")
    regression.fit(located(x[:400], positions[:400]), located(x[:0], positions[:0]), print)
    off = haversine_m(regression.locate(x[400:]), positions[400:])
    blind = haversine_m(regression.origin, positions[400:])
    assert np.median(off) < 30 < np.median(blind) / 5
    told = regression.facts()["training"]
    assert told["epochs"][-1]["losses"]["loss"] < told["epochs"][0]["losses"]["loss"] / 5


def test_the_first_loss_is_that_of_the_formula() -> None:
    from ial_methods.two_stage.training import PositionHead

    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 6)).astype(np.float32)
    positions = from_local_m(rng.normal(0, 300, (30, 2)), PITTSBURGH)
    regression = stage(epochs="1", batch_size="30", width="9", huber_m="40")
    regression.fit(located(x, positions), located(x[:0], positions[:0]), print)
    (epoch,) = regression.facts()["training"]["epochs"]  # one step: measured before the weights changed
    true = to_local_m(positions, regression.origin)
    scale = np.sqrt((true**2).mean())
    weights = {n: p.detach().numpy() for n, p in PositionHead(6, 9, float(scale), 0).named_parameters()}
    unit = x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(6)
    hidden = np.maximum(unit @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    error = np.abs(scale * (hidden @ weights["out.weight"].T + weights["out.bias"]) - true)
    huber = np.where(error < 40, error**2 / 2, 40 * (error - 20)) / 40
    assert epoch["losses"]["loss"] == pytest.approx(huber.mean(), rel=1e-4)


def test_the_contract_is_kept() -> None:
    check_method(TwoStageRegression, config_from_text(TwoStageRegression, SMALL))


def test_it_comes_back_from_its_files(tiny_city: Dataset, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    made = [
        TwoStageRegression(
            TwoStageRegression.Config(backbone=CHECK_BACKBONE, epochs=2, width=16),
            RunContext(0, "cpu", store, NoReport(), 8),
        )
        for _ in range(2)
    ]
    fitted, loaded = made
    fitted.prepare()
    fitted.fit(tiny_city.split("train"), tiny_city.split("val"))
    fitted.index(tiny_city.candidates)
    folder = tmp_path / "state"
    folder.mkdir()
    fitted_methods.store(fitted, folder, {})
    loaded.prepare()
    fitted_methods.restored(loaded, folder)
    batch = tiny_city.split("query").batch()
    one, other = fitted.predict(batch, 5), loaded.predict(batch, 5)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.positions, other.positions)
    assert loaded.facts == fitted.facts
    assert loaded.storage_bytes() == fitted.storage_bytes()
    count = fitted.parameters()
    assert count.trained == store.card(CHECK_BACKBONE).dim * 16 + 16 + 16 * 2 + 2
    assert 0 <= fitted.facts["val"]["ssa1_predicted_position"] <= 1
