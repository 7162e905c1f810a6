"""NaN and infinity reach no ranking: they are refused where weights are loaded and where features are made."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.encoder import names_of_batch, require_finite
from ial_bench.encoders.image_tower import load_image_tower
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip_source import OWN_MODELS
from ial_bench.encoders.spec import OWN_POOLING
from ial_bench.encoders.towers import load_towers
from ial_bench.encoders.vpr.cosplace import CosPlace
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import DataError
from ial_bench.image_batch import ImageBatch
from ial_bench.json_files import read_json
from ial_bench.progress import NoReport


def clip_file(folder: Path, name: str, value: float, *, scaled: bool = False) -> str:
    """The spec of a small CLIP with one tensor altered: its first value, or all of it times `value`."""
    torch.manual_seed(7)
    state = {k: v.clone() for k, v in open_clip.CLIP(**read_json(OWN_MODELS / "tiny-check.json")).state_dict().items()}
    if scaled:
        state[name] *= value
    else:
        state[name].view(-1)[0] = value
    torch.save(state, folder / "w.pt")
    return f"openclip:tiny-check/{folder}/w.pt"


def store(cache: Path) -> FeatureStore:
    return FeatureStore(cache, "cpu", 4, 0, NoReport(), 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("load", [load_encoder, load_towers, lambda t, d: load_image_tower(t, OWN_POOLING, d)])
def test_weights_are_refused_by_name_whoever_loads_them(load: Any, value: float, tmp_path: Path) -> None:
    text = clip_file(tmp_path, "ln_final.bias", value)
    with pytest.raises(DataError, match=r"values of ln_final.bias are NaN or infinite"):
        load(text, "cpu")


def test_statistics_of_batch_norm_are_weights_too(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=0)
    state = model.state_dict()
    name = next(n for n in state if n.endswith("running_var"))
    state[name][0] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(DataError, match=f"1 of .* values of {name} are NaN"):
        load_encoder(f"timm:test_resnet/{tmp_path}/w.pt", "cpu")
    place = CosPlace("resnet18", 32).state_dict()
    place["backbone.1.running_mean"][3] = float("inf")
    torch.save(place, tmp_path / "p.pth")
    with pytest.raises(DataError, match=r"values of backbone\.1\.running_mean"):
        load_encoder(f"vpr:cosplace-resnet18-32/{tmp_path}/p.pth", "cpu")


def test_a_scale_of_logits_that_overflows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="logit_scale that overflows"):
        load_encoder(clip_file(tmp_path, "logit_scale", 200.0), "cpu")


def test_features_that_overflow_are_refused_with_encoder_and_photo(tiny_city: Dataset, tmp_path: Path) -> None:
    text, photos = clip_file(tmp_path, "visual.proj", 3e38, scaled=True), tiny_city.split("train")
    cache = store(tmp_path / "cache")
    asks: list[Callable[[], object]] = [
        lambda: cache.photos(text, photos),
        lambda: cache.batch(text, photos.batch(slice(0, 3))),
    ]
    for ask in asks:
        with pytest.raises(DataError, match="NaN or infinite") as caught:
            ask()
        assert "w.pt" in caught.value.problem
        assert str(photos.path(0)) in caught.value.problem
    marks = list((tmp_path / "cache").rglob("marks"))
    assert not any(mark.read_bytes() for mark in marks)


@pytest.mark.parametrize("load", [load_towers, lambda t, d: load_image_tower(t, OWN_POOLING, d)])
def test_towers_whose_features_overflow_are_not_trained(load: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"features of a \w+ photo that are NaN or infinite"):
        load(clip_file(tmp_path, "visual.proj", 3e38, scaled=True), "cpu")


def test_texts_that_overflow_are_refused(tmp_path: Path) -> None:
    encoder = load_encoder(clip_file(tmp_path, "text_projection", 3e38, scaled=True), "cpu")
    assert encoder.encode_texts is not None
    with pytest.raises(DataError, match="features of the text 'Oak Street' that are NaN"):
        encoder.encode_texts(["Oak Street"])


def test_what_an_earlier_release_left_in_the_cache_is_made_anew(tiny_city: Dataset, tmp_path: Path) -> None:
    """Marked as whole, but not finite."""
    photos, text = tiny_city.split("train"), "openclip:tiny-check/random-init"
    good = np.array(store(tmp_path).photos(text, photos))
    data = next(tmp_path.rglob("features.f32"))
    lines = (data.with_name("marks")).read_text().splitlines()
    start, stop, _, took = lines[0].split()
    bad = np.full((int(stop) - int(start), good.shape[1]), np.nan, np.float32).tobytes()
    data.write_bytes(bad + data.read_bytes()[len(bad) :])
    lines[0] = f"{start} {stop} {sha256(bad).hexdigest()} {took}"
    data.with_name("marks").write_text("\n".join(lines) + "\n")
    np.testing.assert_array_equal(store(tmp_path).photos(text, photos), good)


def test_the_first_bad_row_is_the_one_that_is_named(tiny_city: Dataset) -> None:
    x = np.ones((6, 3), np.float32)
    require_finite(x, "timm:x", str)
    x[4, 1], x[5, 0] = np.inf, np.nan
    queries = tiny_city.split("query")
    with pytest.raises(DataError, match="timm:x") as caught:
        require_finite(x, "timm:x", names_of_batch(queries.batch(slice(2, 8))))
    assert str(queries.path(6)) in caught.value.problem
    photos = [np.zeros((4, 4, 3), np.uint8)] * 6
    with pytest.raises(DataError, match=r"features of mine/e\.jpg that are"):
        require_finite(
            x, "timm:x", names_of_batch(ImageBatch.from_arrays(photos, names=[f"mine/{c}.jpg" for c in "abcdef"]))
        )
    bare = ImageBatch.from_arrays(photos)
    with pytest.raises(DataError, match="photo 4 of the batch"):
        require_finite(x, "timm:x", names_of_batch(bare))
