"""One reader of checkpoints for all libraries: what training scripts put around and beside tensors is taken off."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from ial_bench.encoders.checkpoints import fill, read_state
from ial_bench.encoders.load import load_encoder
from ial_bench.errors import DataError

State = dict[str, torch.Tensor]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 2, 1)))


def tiny_vit(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = timm.create_model("test_vit", num_classes=0)
    return model


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def loaded(content: object, folder: Path, target: nn.Module) -> State:
    file = folder / "w.pt"
    torch.save(content, file)
    fill(target, read_state(file, "timm:x", target.state_dict()), file, "timm:x")
    return target.state_dict()


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "encoder.", "net.",
        "model._orig_mod.module.", "module.model.encoder.", "_fsdp_wrapped_module.", "student.backbone.", "anything.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [network, tiny_vit])
def test_prefixes_of_any_order_and_depth_are_taken_off(
    make: Callable[[int], nn.Module], prefix: str, tmp_path: Path
) -> None:
    state = make(1).state_dict()
    assert equal(loaded({"state_dict": under(prefix, state)}, tmp_path, make(2)), state)


def test_wrappers_within_a_network_are_taken_off(tmp_path: Path) -> None:
    state = network(1).state_dict()
    inside = {name.replace("2.0.", "2._orig_mod.0.module.", 1): tensor for name, tensor in state.items()}
    assert inside.keys() != state.keys()
    assert equal(loaded(inside, tmp_path, network(2)), state)


def test_a_network_that_is_called_so_itself_keeps_its_names(tmp_path: Path) -> None:
    source, target = (nn.ModuleDict({"module": nn.Linear(2, 2), "model": nn.Linear(2, 2)}) for _ in range(2))
    state = source.state_dict()
    assert equal(loaded(under("module.", under("module.", state)), tmp_path, target), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s, _: s,
        lambda s, _: {"model": s},
        lambda s, _: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        lambda s, _: {"model": {"state_dict": s}},
        lambda s, _: {"weights": {"params": s}, "step": 3},
        lambda s, _: {"a name of one's own": s},
        lambda s, o: {"state_dict": o, "state_dict_ema": s},
        lambda s, o: {"model": o, "ema": {"decay": 0.9, "shadow": s}},
        lambda s, _: {"n_averaged": torch.tensor(5), **under("module.", s)},
        lambda s, _: {**s, "statistics": {"mean": torch.ones(3)}},
        lambda s, _: {**s, "epoch": 3, "accuracy": np.float64(0.5)},
    ],
)  # fmt: skip
def test_wrappers_are_taken_off(wrap: Callable[[State, State], object], tmp_path: Path) -> None:
    """Averaged weights, where there are any, go before those of the last step."""
    state = network(1).state_dict()
    assert equal(loaded(wrap(state, network(3).state_dict()), tmp_path, network(2)), state)


@pytest.mark.parametrize(
    "beside",
    [
        np.float64(0.5), np.float32(2), np.int64(3), np.bool_(True), np.arange(3.0), np.array([[1, 2]], np.int32),
        argparse.Namespace(lr=0.1, out=Path("runs/x")), Path("x"), {"losses": [np.float32(1)]}, None, "text",
    ],
)  # fmt: skip
def test_harmless_things_beside_tensors(beside: Any, tmp_path: Path) -> None:
    state = network(1).state_dict()
    assert equal(loaded({"model": state, "beside": beside}, tmp_path, network(2)), state)


@pytest.mark.parametrize("value", [4.0, np.float32(4), np.array([4.0]), torch.tensor([4.0])])
def test_a_number_may_stand_for_a_tensor_of_one(value: Any, tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.scale = nn.Parameter(torch.tensor(1.0))

    state = Scaled().state_dict()
    found = loaded({**state, "scale": value}, tmp_path, Scaled())
    assert torch.equal(found["scale"], torch.tensor(4.0))


def test_batch_norms_of_old_count_nothing(tmp_path: Path) -> None:
    state = {k: v for k, v in network(1).state_dict().items() if not k.endswith("num_batches_tracked")}
    found = loaded(state, tmp_path, network(2))
    assert all(torch.equal(found[k], v) for k, v in state.items())


def test_several_networks_in_one_file_are_named(tmp_path: Path) -> None:
    content = {"teacher": network(1).state_dict(), "student": network(2).state_dict()}
    with pytest.raises(DataError, match="several sets of tensors in it: teacher, student"):
        loaded(content, tmp_path, network(3))


def test_two_towers_of_one_network_are_not_taken_for_each_other(tmp_path: Path) -> None:
    state = network(1).state_dict()
    with pytest.raises(DataError, match="it has besides: "):
        loaded({**under("encoder_q.", state), **under("encoder_k.", state)}, tmp_path, network(2))


def test_a_lost_tensor_under_a_prefix_is_named_without_it(tmp_path: Path) -> None:
    state = network(1).state_dict()
    del state["2.0.bias"]
    with pytest.raises(DataError, match=r": it lacks: 2.0.bias \[2\]\n"):
        loaded({"state_dict": under("module.net.", state)}, tmp_path, network(2))


class Own:
    """Of a training script."""


@pytest.mark.parametrize("name", ["openclip:tiny-street/{}", "timm:test_vit/{}", "vpr:cosplace-resnet18-32/{}"])
def test_code_is_refused_by_its_name_and_what_is_no_checkpoint_is_not_called_unsafe(name: str, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"model": {"a": torch.ones(2)}, "trainer": Own()}, file)
    with pytest.raises(DataError, match=r"cannot be loaded safely: .*\.Own"):
        load_encoder(name.format(file), "cpu")
    for content in (b"<!DOCTYPE html><html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n", b""):
        file.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_encoder(name.format(file), "cpu")
        assert str(file) in caught.value.problem
        assert "safe" not in caught.value.problem
    torch.save([1, 2], file)
    with pytest.raises(DataError, match="there is no state dict in it"):
        load_encoder(name.format(file), "cpu")
