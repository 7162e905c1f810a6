"""The opened towers against open_clip's own encode_text and encode_image, for every kind of tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ial_bench.encoders import towers as towers_module
from ial_bench.encoders.towers import ClipTowers, joined_by_words, load_towers
from ial_bench.errors import DataError, SkipMethod
from ial_bench.testing import CHECK_BACKBONE

STREET = "openclip:tiny-street/random-init"
TEXTS = [
    "Oak Street, Old Town",
    "a",
    "",
    "Between Crossing 1 and Crossing 2 of the very long Maple Avenue, Quarter 9, " * 6,
    "Elm Street, from 1st Avenue to 2nd Avenue",
    "Fir Way",
    "Cedar Avenue",
]
TEXT: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT: dict[str, Any] = {"image_size": 32, "layers": 3, "width": 48, "head_width": 16, "patch_size": 8}
RESNET: dict[str, Any] = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "patch_size": None}

# name -> (vision, text, the rest)
CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "vit": (VIT, TEXT, {}),
    "average-pool": ({**VIT, "pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True}, TEXT, {}),
    "resnet": (RESNET, TEXT, {}),
    "quick-gelu": (VIT, TEXT, {"quick_gelu": True}),
    "short": (VIT, {**TEXT, "context_length": 16}, {}),
    "custom": (VIT, TEXT, {"custom_text": True}),
    "custom-eos": (VIT, {**TEXT, "pool_type": "eos", "eos_id": 49407}, {"custom_text": True}),
    "eos": (VIT, {**TEXT, "pool_type": "eos", "eos_id": 49407}, {}),
    "linear-projection": (VIT, {**TEXT, "proj_bias": True}, {"custom_text": True}),
    "no-projection": (VIT, {**TEXT, "proj_type": "none"}, {}),
    "layer-scale": ({**VIT, "ls_init_value": 0.5}, {**TEXT, "ls_init_value": 0.5}, {}),
}


def write_config(folder: Path, vision: dict[str, Any], text: dict[str, Any], name: str = "made", **rest: Any) -> Path:
    path = folder / f"{name}-{abs(hash(folder)) % 10**9}.json"  # open_clip knows configurations by their file's name
    path.write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, **rest}))
    return path


def scrambled(towers: ClipTowers) -> ClipTowers:
    """Weights away from their initial values, in which biases are zeros and norms do nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in towers.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        towers.model.logit_scale.fill_(2.0)
    return towers


@pytest.fixture(params=["tiny-check", "tiny-street", *CONFIGS])
def towers(request: pytest.FixtureRequest, tmp_path: Path) -> ClipTowers:
    if request.param in {"tiny-check", "tiny-street"}:
        return scrambled(load_towers(f"openclip:{request.param}/random-init", "cpu"))
    vision, text, rest = CONFIGS[request.param]
    path = write_config(tmp_path, vision, text, request.param, **rest)
    return scrambled(load_towers(f"openclip:{path}/random-init", "cpu"))


def pixels_for(towers: ClipTowers, n: int = 3) -> torch.Tensor:
    size = towers.model.visual.image_size
    side = size if isinstance(size, int) else size[0]
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(5))


def test_texts(towers: ClipTowers) -> None:
    tokens = towers.tokenize(TEXTS)
    assert tokens.shape == (len(TEXTS), towers.context_length)
    torch.testing.assert_close(towers.encode_tokens(tokens), towers.model.encode_text(tokens), rtol=1e-4, atol=1e-5)
    features = towers.encode_tokens(towers.tokenize(TEXTS[:1]))
    torch.testing.assert_close(features, towers.model.encode_text(tokens[:1]), rtol=1e-4, atol=1e-5)


def test_photos(towers: ClipTowers) -> None:
    pixels = pixels_for(towers)
    expected = towers.model.encode_image(pixels)
    torch.testing.assert_close(towers.encode_pixels(pixels), expected)
    if isinstance(towers.model.visual, open_clip.modified_resnet.ModifiedResNet):
        with pytest.raises(SkipMethod, match="visual prompts need a vision transformer"):
            towers.encode_prompted(pixels, [])
        with pytest.raises(SkipMethod):
            _ = towers.image_width
        return
    torch.testing.assert_close(towers.encode_prompted(pixels, []), expected, rtol=1e-4, atol=1e-5)
    prompt = torch.zeros(2, towers.image_width)
    assert not torch.allclose(towers.encode_prompted(pixels, [prompt]), expected, atol=1e-4)
    assert towers.image_blocks >= 1


def test_no_texts(towers: ClipTowers) -> None:
    width = towers.model.encode_text(towers.tokenize(["a"])).shape[1]
    assert towers.encode_tokens(towers.tokenize([])).shape == (0, width)


def gradients(towers: ClipTowers, features: torch.Tensor) -> dict[str, torch.Tensor]:
    target = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    towers.zero_grad(set_to_none=True)
    ((features - target) ** 2).mean().backward()  # type: ignore[no-untyped-call]
    return {n: p.grad for n, p in towers.named_parameters() if p.grad is not None}


def test_what_is_left_out_and_made_anew_changes_no_gradient(towers: ClipTowers) -> None:
    for parameter in towers.text_parameters():
        parameter.requires_grad = True
    tokens = towers.tokenize(TEXTS)
    expected = gradients(towers, towers.model.encode_text(tokens))
    assert set(expected) == {n for n, p in towers.named_parameters() if p.requires_grad}
    ends = towers.ends(tokens)
    calls: list[int] = []

    def embed(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        calls.append(int(columns.max()) + 1)
        return towers.embed(tokens[rows, columns])

    for chunk in (100, 3, 1):
        calls.clear()
        found = gradients(towers, towers.encode_embeddings(embed, ends, chunk=chunk))
        n_chunks = -(-len(TEXTS) // chunk)
        assert len(calls) == (n_chunks if n_chunks == 1 else 2 * n_chunks)  # forward, and anew in the backward pass
        assert calls[:n_chunks] == sorted(calls[:n_chunks])
        assert min(calls) < towers.context_length or chunk == 100
        for name, grad in expected.items():
            torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-6, msg=name)


BEGIN_ALIKE = [
    "Oak Street, Old Town (Elm Street, Fir Way)",
    "Fir Way",
    "Oak Street, Old Town (Elm Street, Cedar Avenue)",
    "Oak Street",
    "",
    "Oak Street, Old Town (Elm Street, Fir Way)",
    "Fir Way, between Oak Street and Old Town",
    "Elm Street",
]


def test_what_texts_share_changes_neither_features_nor_gradients(towers: ClipTowers) -> None:
    for parameter in towers.text_parameters():
        parameter.requires_grad = True
    tokens = towers.tokenize(BEGIN_ALIKE)
    whole = towers.model.encode_text(tokens)
    expected, ends = gradients(towers, whole), towers.ends(tokens)
    embedded: list[int] = []

    def embed(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        embedded.append(len(rows))
        return towers.embed(tokens[rows, columns])

    held = [row[: int(end) + 1] for row, end in zip(tokens.tolist(), ends, strict=True)]
    beginnings = {tuple(row[: i + 1]) for row in held for i in range(len(row))}
    for chunk in (100, 3, 1):
        embedded.clear()
        features = towers.encode_embeddings(embed, ends, keys=tokens.numpy(), chunk=chunk)
        torch.testing.assert_close(features, whole, rtol=1e-4, atol=1e-5)
        if chunk == 100:
            assert embedded == [len(beginnings)]  # each beginning once, and nothing behind an end
        elif chunk == 1:
            assert sorted(embedded) == sorted(len(row) for row in held)
        found = gradients(towers, features)
        assert set(found) == set(expected)
        for name, grad in expected.items():
            torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-6, msg=name)


def test_gradients_of_texts_are_the_same_each_time_by_several_threads(towers: ClipTowers) -> None:
    for parameter in towers.text_parameters():
        parameter.requires_grad = True
    tokens = towers.tokenize([f"{text} {number}" for number in range(40) for text in BEGIN_ALIKE])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        once, *others = (gradients(towers, towers.encode_tokens(tokens)) for _ in range(4))
    finally:
        torch.set_num_threads(threads)
    for other in others:
        assert all(torch.equal(other[name], grad) for name, grad in once.items())


def test_blocks_of_another_kind_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path, VIT, TEXT, custom_text=True)
    towers = scrambled(load_towers(f"openclip:{config}/random-init", "cpu"))

    class Other(open_clip.transformer.ResidualAttentionBlock):  # type: ignore[misc]
        def forward(self, *given: Any, **named: Any) -> torch.Tensor:
            mixed: torch.Tensor = super().forward(*given, **named)
            return 2 * mixed

    for block in towers.text_blocks:
        block.__class__ = Other
    tokens = towers.tokenize(BEGIN_ALIKE)
    found = towers.encode_embeddings(lambda r, c: towers.embed(tokens[r, c]), towers.ends(tokens), keys=tokens.numpy())
    torch.testing.assert_close(found, towers.model.encode_text(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_deep_prompts_take_their_places(chunk: int, shared: bool) -> None:
    """Against a plain loop over all 77 places, without chunks."""
    towers = scrambled(load_towers(STREET, "cpu"))
    tokens = towers.tokenize(["Oak Street, Old Town", "Elm Street, between here and there"])
    deep = [torch.randn(2, towers.text_width, generator=torch.Generator().manual_seed(3))]
    found = towers.encode_embeddings(
        lambda rows, columns: towers.embed(tokens[rows, columns]), towers.ends(tokens), deep,
        keys=tokens.numpy() if shared else None, chunk=chunk,
    )  # fmt: skip
    model = towers.model
    x = model.token_embedding(tokens) + model.positional_embedding
    x = model.transformer.resblocks[0](x, attn_mask=model.attn_mask)
    x[:, 1:3] = deep[0]
    x = model.ln_final(model.transformer.resblocks[1](x, attn_mask=model.attn_mask))
    expected = x[torch.arange(2), tokens.argmax(dim=1)] @ model.text_projection
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_parameters_are_shared_out() -> None:
    for spec in (CHECK_BACKBONE, STREET):
        towers = load_towers(spec, "cpu")
        image, text = towers.image_parameters(), towers.text_parameters()
        scale = towers.model.logit_scale
        assert {id(p) for p in [*image, *text, scale]} == {id(p) for p in towers.parameters()}
        assert len(image) + len(text) + 1 == len(list(towers.parameters()))
        assert not any(p.requires_grad for p in towers.parameters())
        assert not towers.model.training
        assert float(towers.logit_scale) == pytest.approx(float(scale.exp()))
        assert len(towers.text_blocks) == towers.model.transformer.layers


def test_a_copy_of_its_own() -> None:
    one, other = load_towers(CHECK_BACKBONE, "cpu"), load_towers(CHECK_BACKBONE, "cpu")
    with torch.no_grad():
        one.model.text_projection.zero_()
    assert bool(other.model.text_projection.any())


# --- captions with addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [CHECK_BACKBONE, STREET])
def test_joined_texts_that_fit(spec: str) -> None:
    towers = load_towers(spec, "cpu")
    heads = ["a red house", "A sign says 'Stop'.", "", "two &amp; three  cars,", "trees!"]
    tails = ["Oak Street, Old Town", "Elm Street", "Pine Street", "Fir Way", "(Ash Lane)"]
    tokens, cut = towers.tokenize_joined(heads, tails)
    joined = [f"{h}, {t}" if h else t for h, t in zip(heads, tails, strict=True)]
    assert cut == 0
    assert torch.equal(tokens, towers.tokenize(joined))


def test_joined_texts_that_do_not_fit(tmp_path: Path) -> None:
    config = write_config(tmp_path, VIT, {**TEXT, "context_length": 16})
    towers = load_towers(f"openclip:{config}/random-init", "cpu")
    assert towers.context_length == 16
    tokenizer: Any = open_clip.get_tokenizer("tiny-check")
    tail = "oak street, old town"
    n_tail = len(tokenizer.encode(tail))
    just = " ".join(["house"] * (14 - 1 - n_tail))  # one token a word, and one for the comma
    heads, tails = [just, just + " house", "house " * 40, "x", ""], [tail, tail, tail, "lane " * 30, "lane " * 15]
    tokens, cut = towers.tokenize_joined(heads, tails)
    assert cut == 4
    assert bool((tokens[:, 0] == tokenizer.sot_token_id).all())
    assert bool((tokens[:, 15] == tokenizer.eot_token_id).all())
    for row in tokens[:3].tolist():  # the address whole, the caption as far as there is room
        assert row[1:15] == tokenizer.encode(f"{just}, {tail}")
    assert tokenizer.decode(tokens[3, 1:15].tolist()).split() == [",", *["lane"] * 13]
    assert tokenizer.decode(tokens[4, 1:15].tolist()).split() == ["lane"] * 14


class Words:
    """A tokenizer as open_clip wraps those of transformers: a token a word, an end token behind them."""

    context_length = 8
    clean_fn = staticmethod(str.lower)

    class Inner:
        def __call__(self, text: str) -> Any:
            return type("Encoding", (), {"input_ids": [7] * len(text.split()) + [1]})()

    tokenizer = Inner()

    def __call__(self, texts: list[str]) -> torch.Tensor:
        rows = [[*(len(w) for w in t.split()[: self.context_length - 1]), 1] for t in texts]
        return torch.tensor([row + [0] * (self.context_length - len(row)) for row in rows])


def test_joining_by_another_tokenizer_cuts_at_words() -> None:
    texts, cut = joined_by_words(
        Words(),
        ["a caption of two", "a caption that is by far too long", "", "all of it goes away"],
        ["Oak Street", "Oak Street, Old Town", "Elm Street", "an address of seven words, no less, whole"],
    )
    assert texts == [
        "a caption of two, Oak Street", "a caption that, Oak Street, Old Town", "Elm Street",
        "an address of seven words, no less, whole",
    ]  # fmt: skip
    assert cut == 2
    assert all(len(t.split()) < Words.context_length for t in texts[:3])


def test_towers_join_by_whatever_tokenizer_they_have() -> None:
    towers = load_towers(CHECK_BACKBONE, "cpu")
    other = ClipTowers(towers.model, Words(), towers.preprocess, {})
    tokens, cut = other.tokenize_joined(["a caption of two"], ["Oak Street"])
    assert (tokens.tolist(), cut) == ([[1, 7, 2, 4, 3, 6, 1, 0]], 0)
    with pytest.raises(SkipMethod, match="prompts need CLIP's tokenizer; this model has a Words"):
        _ = other.clip_tokenizer


# --- towers that prompts have no place in ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        {"pool_type": "last", "no_causal_mask": True, "proj_bias": True},  # SigLIP
        {"pool_type": "first", "no_causal_mask": True},
        {"pool_type": "last"},
        {"no_causal_mask": True},  # MobileCLIP2
    ],
)
def test_texts_of_other_towers(tmp_path: Path, text: dict[str, Any]) -> None:
    """Where what stands behind a text's end does reach its feature, nothing is left out."""
    config = write_config(tmp_path, VIT, {**TEXT, **text}, custom_text=True)
    towers = scrambled(load_towers(f"openclip:{config}/random-init", "cpu"))
    tokens = towers.tokenize(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(towers.encode_tokens(tokens), towers.model.encode_text(tokens), rtol=1e-4, atol=1e-5)
        chunked = towers.encode_embeddings(
            lambda rows, columns: towers.embed(tokens[rows, columns]), towers.ends(tokens), chunk=2, keys=tokens.numpy()
        )
    torch.testing.assert_close(chunked, towers.model.encode_text(tokens), rtol=1e-4, atol=1e-5)


def test_coca_is_called_as_a_whole_and_not_prompted(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        VIT,
        {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "coca",
        multimodal_cfg={"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        custom_text=True,
    )
    towers = load_towers(f"openclip:{config}/random-init", "cpu")
    tokens = towers.tokenize(TEXTS)
    assert tokens.shape[1] == towers.context_length == 76
    with torch.no_grad():
        torch.testing.assert_close(towers.encode_tokens(tokens), towers.model.encode_text(tokens))
    for use in (lambda: towers.embed(tokens), lambda: towers.text_width, lambda: towers.text_blocks):
        with pytest.raises(SkipMethod, match="called as a whole"):
            use()


def test_whole_towers_go_in_chunks_with_the_same_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path, VIT, {**TEXT, "embed_cls": True}, custom_text=True)
    towers = scrambled(load_towers(f"openclip:{config}/random-init", "cpu"))
    tokens = towers.tokenize(TEXTS)
    weight = towers.model.text.token_embedding.weight.requires_grad_()
    (whole,) = torch.autograd.grad(towers.encode_tokens(tokens).square().sum(), weight)
    monkeypatch.setattr(towers_module, "TEXT_CHUNK", 2)
    (parts,) = torch.autograd.grad(towers.encode_tokens(tokens).square().sum(), weight)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


def test_what_has_no_texts_has_no_towers() -> None:
    with pytest.raises(SkipMethod, match="has no text tower"):
        load_towers("timm:resnet18/random-init", "cpu")


def test_a_bias_is_added_to_scaled_cosines(tmp_path: Path) -> None:
    config = write_config(tmp_path, VIT, TEXT, init_logit_bias=-10, custom_text=True)
    towers = load_towers(f"openclip:{config}/random-init", "cpu")
    assert towers.biased(torch.tensor([3.0])).tolist() == [-7.0]
    assert load_towers(CHECK_BACKBONE, "cpu").biased(torch.tensor([3.0])).tolist() == [3.0]
    assert "logit_bias" not in {n for n, p in towers.named_parameters() if id(p) in map(id, towers.text_parameters())}


# --- local checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("layout", ["openai", "laion", "safetensors"])
def test_local_checkpoints(tmp_path: Path, layout: str, custom: bool) -> None:
    """OpenAI's names, as a plain state dict; LAION's training output; safetensors; each into either class."""
    plain = write_config(tmp_path, VIT, TEXT, "plain", quick_gelu=True)
    source = scrambled(load_towers(f"openclip:{plain}/random-init", "cpu")).model
    state = {k: v.clone() for k, v in source.state_dict().items()}
    assert {"visual.conv1.weight", "positional_embedding", "text_projection", "logit_scale"} <= set(state)
    path = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pt")
    if layout == "safetensors":
        save_file(state, path)
    elif layout == "openai":
        torch.save(state, path)
    else:
        torch.save({"epoch": 32, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    config = write_config(tmp_path, VIT, TEXT, f"target-{custom}", quick_gelu=True, custom_text=custom)
    towers = load_towers(f"openclip:{config}/{path}", "cpu")
    assert type(towers.model).__name__ == ("CustomTextCLIP" if custom else "CLIP")
    tokens, pixels = towers.tokenize(TEXTS), pixels_for(towers)
    torch.testing.assert_close(towers.encode_tokens(tokens), source.encode_text(tokens), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(towers.encode_pixels(pixels), source.encode_image(pixels))
    torch.testing.assert_close(towers.logit_scale, source.logit_scale.exp())


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_refused_with_a_way_out(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "ViT-B-16.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(DataError) as caught:
        load_towers(f"openclip:tiny-check/{tmp_path}/ViT-B-16.pt", "cpu")
    assert "TorchScript archive, a program with its weights" in caught.value.problem
    assert "openclip:ViT-B-16/openai" in str(caught.value.fix)
    assert "safetensors" in str(caught.value.fix)
