"""State dicts of the released place-recognition models: names and shapes as the authors' code writes them.

The layouts are written out here from the authors' repositories: gmberton/CosPlace (cosplace_model/), gmberton/
EigenPlaces (eigenplaces_model/), amaralibey/MixVPR (models/), serizba/salad (models/), facebookresearch/dinov2.
Models are built on torch's meta device, which allocates nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ial_bench.encoders.checkpoints import fill, read_centres, read_state
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.vpr import anyloc, dinov2
from ial_bench.encoders.vpr.anyloc import AnyLoc
from ial_bench.encoders.vpr.cosplace import CosPlace
from ial_bench.encoders.vpr.mixvpr import MixVPR
from ial_bench.encoders.vpr.published import PUBLISHED
from ial_bench.encoders.vpr.salad import Salad
from ial_bench.errors import DataError, SkipMethod

Layout = dict[str, tuple[int, ...]]
STAGES = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def norm(name: str, channels: int) -> Layout:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def resnet(kind: str, names: list[str], stages: int = 4) -> Layout:
    """The trunk; `names` of its first convolution and norm, then of its stages."""
    layout: Layout = {f"{names[0]}.weight": (64, 3, 7, 7), **norm(names[1], 64)}
    before = 64
    for stage, n_blocks in enumerate(STAGES[kind][:stages]):
        inner = 64 * 2**stage
        after = inner if kind == "resnet18" else 4 * inner
        for block in range(n_blocks):
            at = f"{names[2 + stage]}.{block}"
            if kind == "resnet18":
                shapes = [(inner, before, 3, 3), (inner, inner, 3, 3)]
            else:
                shapes = [(inner, before, 1, 1), (inner, inner, 3, 3), (after, inner, 1, 1)]
            for i, shape in enumerate(shapes, start=1):
                layout |= {f"{at}.conv{i}.weight": shape, **norm(f"{at}.bn{i}", shape[0])}
            if block == 0 and before != after:
                layout |= {f"{at}.downsample.0.weight": (after, before, 1, 1), **norm(f"{at}.downsample.1", after)}
            before = after
    return layout


def linear(name: str, out: int, into: int, bias: bool = True) -> Layout:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def pointwise(name: str, out: int, into: int) -> Layout:
    return {f"{name}.weight": (out, into, 1, 1), f"{name}.bias": (out,)}


def cosplace(trunk: str, dim: int) -> Layout:
    """Conv, norm, ReLU, pooling are 0 to 3 of the sequence, the stages 4 to 7."""
    if trunk == "vgg16":
        into = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
        places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
        body: Layout = {}
        for i, place in enumerate(places):
            body |= {f"backbone.{place}.weight": (into[i + 1], into[i], 3, 3), f"backbone.{place}.bias": (into[i + 1],)}
        width = 512
    else:
        body = resnet(trunk, [f"backbone.{i}" for i in (0, 1, 4, 5, 6, 7)])
        width = 512 if trunk == "resnet18" else 2048
    return body | {"aggregation.1.p": (1,)} | linear("aggregation.3", dim, width)


def mixvpr(channels: int, rows: int) -> Layout:
    names = [f"backbone.model.{n}" for n in ("conv1", "bn1", "layer1", "layer2", "layer3")]
    layout = resnet("resnet50", names, stages=3)
    for block in range(4):
        at = f"aggregator.mix.{block}.mix"
        layout |= {f"{at}.0.weight": (400,), f"{at}.0.bias": (400,)}
        layout |= linear(f"{at}.1", 400, 400) | linear(f"{at}.3", 400, 400)
    return layout | linear("aggregator.channel_proj", channels, 1024) | linear(
        "aggregator.row_proj", rows, 400, bias=False
    )  # fmt: skip


def dino(prefix: str, width: int, depth: int, gated: bool = False) -> Layout:
    layout: Layout = {
        "cls_token": (1, 1, width), "pos_embed": (1, 1 + 37 * 37, width), "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for i in range(depth):
        at = f"blocks.{i}"
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            layout[f"{at}.{part}"] = (width,)
        layout |= linear(f"{at}.attn.qkv", 3 * width, width) | linear(f"{at}.attn.proj", width, width)
        if gated:
            layout |= linear(f"{at}.mlp.w12", 8192, width) | linear(f"{at}.mlp.w3", width, 4096)
        else:
            layout |= linear(f"{at}.mlp.fc1", 4 * width, width) | linear(f"{at}.mlp.fc2", width, 4 * width)
    return {f"{prefix}{k}": v for k, v in layout.items()}


def salad() -> Layout:
    layout = dino("backbone.model.", 768, 12) | {"aggregator.dust_bin": ()}
    layout |= linear("aggregator.token_features.0", 512, 768) | linear("aggregator.token_features.2", 256, 512)
    for name, out in (("cluster_features", 128), ("score", 64)):
        layout |= pointwise(f"aggregator.{name}.0", 512, 768) | pointwise(f"aggregator.{name}.3", out, 512)
    return layout


def shapes(model: nn.Module) -> Layout:
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}


@pytest.mark.parametrize(
    ("build", "layout"),
    [
        (lambda: CosPlace("resnet50", 512), cosplace("resnet50", 512)),
        (lambda: CosPlace("resnet50", 2048), cosplace("resnet50", 2048)),
        (lambda: CosPlace("resnet18", 32), cosplace("resnet18", 32)),
        (lambda: CosPlace("resnet101", 128), cosplace("resnet101", 128)),
        (lambda: CosPlace("resnet152", 1024), cosplace("resnet152", 1024)),
        (lambda: CosPlace("vgg16", 256), cosplace("vgg16", 256)),
        (lambda: MixVPR("resnet50", 4096, 320), mixvpr(1024, 4)),
        (lambda: MixVPR("resnet50", 512, 320), mixvpr(256, 2)),
        (lambda: MixVPR("resnet50", 128, 320), mixvpr(64, 2)),
        (lambda: Salad(dinov2.SIZES["vitb14"]), salad()),
    ],
    ids=lambda value: "" if isinstance(value, dict) else "model",
)
def test_names_and_shapes(build: Callable[[], nn.Module], layout: Layout) -> None:
    with torch.device("meta"):
        model = build()
    assert shapes(model) == layout


def test_the_giants_own_names_become_timms() -> None:
    layout = dino("", 1536, 40, gated=True)
    with torch.device("meta"):
        released = {k: torch.empty(v) for k, v in layout.items()}
        vit = dinov2.build_dinov2(dinov2.SIZES["vitg14"], mask_token=False)
    assert {k: tuple(v.shape) for k, v in dinov2.with_timm_names(released).items()} == shapes(vit)
    assert sum(t.numel() for t in released.values()) == 1_136_480_768  # DINOv2's table says 1,100 M


# --- files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> CosPlace:
    torch.manual_seed(3)
    model = CosPlace("resnet18", 32).eval()
    with torch.no_grad():
        model.aggregation.get_parameter("1.p").fill_(2.2)
    return model


def written(model: nn.Module, folder: Path, layout: str) -> Path:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    path = folder / ("w.safetensors" if layout == "safetensors" else "w.pth")
    wrapped: dict[str, Any] = {
        "plain": state,
        "lightning": {"epoch": 3, "global_step": 9, "state_dict": state},
        "parallel": {f"module.{k}": v for k, v in state.items()},
        "cosplace-training": {"epoch_num": 4, "model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        "safetensors": state,
    }[layout]
    save_file(state, path) if layout == "safetensors" else torch.save(wrapped, path)
    return path


@pytest.mark.parametrize("layout", ["plain", "lightning", "parallel", "cosplace-training", "safetensors"])
def test_files_of_every_wrapping_give_the_same_encoder(trained: CosPlace, tmp_path: Path, layout: str) -> None:
    text = f"vpr:cosplace-resnet18-32/{written(trained, tmp_path, layout)}"
    encoder = load_encoder(text, "cpu")
    pixels = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels), trained(pixels))
    assert encoder.encode_images(pixels).norm() == pytest.approx(1.0, abs=1e-5)
    card = encoder.card
    assert card.dim == 32
    assert card.image_parameters == sum(p.numel() for p in trained.parameters()) == 11_176_512 + 1 + 512 * 32 + 32
    assert [file["path"] for file in card.files] == [str(tmp_path / Path(text).name)]
    untrained = load_encoder("vpr:cosplace-resnet18-32/random-init", "cpu").card
    assert untrained.weights_digest != card.weights_digest
    assert set(untrained.libraries) == {"torchvision"}  # whose residual blocks it is made of


def test_random_init_is_the_same_each_time() -> None:
    torch.manual_seed(1)
    first = load_encoder("vpr:cosplace-resnet18-32/random-init", "cpu").card
    torch.manual_seed(2)
    assert load_encoder("vpr:cosplace-resnet18-32/random-init", "cpu").card == first


def test_the_weights_of_another_length_are_refused(trained: CosPlace, tmp_path: Path) -> None:
    file = written(trained, tmp_path, "plain")
    with pytest.raises(DataError) as caught:
        load_encoder(f"vpr:cosplace-resnet18-64/{file}", "cpu")
    assert str(file) in str(caught.value)
    assert "aggregation.3.weight is [32, 512], not [64, 512]" in str(caught.value)


def test_the_weights_of_another_model_are_refused(trained: CosPlace, tmp_path: Path) -> None:
    file = written(trained, tmp_path, "plain")
    with pytest.raises(DataError) as caught:
        load_encoder(f"vpr:mixvpr-resnet50-128/{file}", "cpu")
    words = str(caught.value)
    assert "it lacks: backbone.model.conv1.weight [64, 3, 7, 7], " in words
    assert "it has besides: backbone.0.weight [64, 3, 7, 7], " in words
    assert " more" in words


def test_a_file_that_lacks_one_tensor_is_refused(trained: CosPlace, tmp_path: Path) -> None:
    state = trained.state_dict()
    del state["aggregation.1.p"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError) as caught:
        load_encoder(f"vpr:cosplace-resnet18-32/{tmp_path}/w.pth", "cpu")
    assert caught.value.problem.endswith("it lacks: aggregation.1.p [1]")


class Harmful:
    """Unpickling it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("text", ["vpr:cosplace-resnet18-32/{}", "vpr:anyloc-dinov2-vitg14/{}", "timm:test_vit+gem/{}"])
def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path, text: str) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "was-here"
    torch.save({"state_dict": Harmful(target)}, path)
    with pytest.raises(DataError, match="cannot be loaded safely"):
        load_encoder(text.format(path), "cpu")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [([1, 2], "no state dict"), ({}, "no state dict"), ({"state_dict": {"a": 1}}, "no state dict")],
)
def test_files_without_weights_are_named(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DataError, match=words):
        load_encoder(f"vpr:cosplace-resnet18-32/{tmp_path}/w.pth", "cpu")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_files_are_named(trained: CosPlace, tmp_path: Path, suffix: str, damage: str) -> None:
    path = written(trained, tmp_path, "safetensors" if suffix == ".safetensors" else "plain")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256)) * 2}[damage])
    with pytest.raises(DataError) as caught:
        load_encoder(f"vpr:cosplace-resnet18-32/{path}", "cpu")
    assert str(path) in str(caught.value)


# --- AnyLoc's two files ---------------------------------------------------------------------------------------

NAME = "anyloc-dinov2-vitg14"
SMALL = dinov2.Size(width=24, depth=33, heads=2, gated=True, grid=3)


@pytest.fixture
def small_giant(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ViT as deep as layer 31 needs, and otherwise tiny, in the giant's place."""
    monkeypatch.setitem(dinov2.SIZES, "vitg14", SMALL)
    torch.manual_seed(4)
    return dinov2.build_dinov2(SMALL, mask_token=True).eval()


def as_released(vit: nn.Module) -> dict[str, torch.Tensor]:
    """Under DINOv2's own names, mask token included."""
    return {k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for k, v in vit.state_dict().items()}


def test_anyloc_of_two_files(small_giant: Any, tmp_path: Path) -> None:
    centres = torch.randn(5, 24)
    torch.save(centres, tmp_path / "c_centers.pt")
    torch.save(as_released(small_giant), tmp_path / "dinov2.pth")
    text = f"vpr:{NAME}/{tmp_path}/c_centers.pt::{tmp_path}/dinov2.pth"
    encoder = load_encoder(text, "cpu")
    assert encoder.card.dim == 5 * 24
    assert [Path(f["path"]).name for f in encoder.card.files] == ["c_centers.pt", "dinov2.pth"]
    pixels = torch.rand(2, 3, 42, 56)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels), AnyLoc(small_giant, centres)(pixels))
    torch.save(centres + 1, tmp_path / "c_centers.pt")
    assert load_encoder(text, "cpu").card.digest != encoder.card.digest


def test_anyloc_takes_dinov2_from_the_hubs_cache_and_never_fetches_it(
    small_giant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(torch.randn(5, 24), tmp_path / "c_centers.pt")
    text = f"vpr:{NAME}/{tmp_path}/c_centers.pt"
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(anyloc, "in_hub_cache", lambda *_: None)
    with pytest.raises(SkipMethod) as caught:
        load_encoder(text, "cpu")
    assert "github.com/facebookresearch/dinov2" in caught.value.reason
    assert f"{text}::DINOV2_FILE" in caught.value.reason
    state = {k: v for k, v in small_giant.state_dict().items() if k != "mask_token"}  # as timm publishes it
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr(anyloc, "in_hub_cache", lambda *_: tmp_path / "model.safetensors")
    assert [Path(f["path"]).name for f in load_encoder(text, "cpu").card.files] == ["c_centers.pt", "model.safetensors"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(5, 23), r"a tensor \[5, 23\], not a tensor \[clusters, 24\]"),
        (torch.zeros(0, 24), "not a tensor"),
        ({"a": torch.zeros(5, 24)}, "it is a dict"),
        (torch.full((5, 24), float("nan")), "not finite"),
    ],
)
def test_what_is_no_vocabulary(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(DataError, match=words):
        read_centres(tmp_path / "c.pt", f"vpr:{NAME}", 24)


def test_salads_own_layout_loads(tmp_path: Path) -> None:
    """A small stand-in, written as Lightning does and read back, every tensor of it."""
    size = dinov2.Size(width=24, depth=2, heads=2, grid=3)
    torch.manual_seed(0)
    source, target = Salad(size, 3, 4, 5), Salad(size, 3, 4, 5)
    torch.save({"state_dict": source.state_dict(), "epoch": 1}, tmp_path / "dino_salad.ckpt")
    fill(target, read_state(tmp_path / "dino_salad.ckpt", "vpr:salad"), tmp_path / "dino_salad.ckpt", "vpr:salad")
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)
    assert PUBLISHED["salad"].dim == 256 + 64 * 128
