"""Pretraining tiny-street: photos of synthetic cities against their captions and addresses, from nothing.

The order of photos, the texts chosen and the changes to photos follow from (seed, step) alone, so that a run that
was stopped goes on as if it had not been. The tokenizer is open_clip's, with byte-pair merges learnt from the texts.
"""

from __future__ import annotations

import gzip
import heapq
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.encoders.build import quiet_build
from ial_bench.encoders.openclip import new_model as untrained
from ial_bench.encoders.openclip import own_model
from ial_bench.errors import ConfigError
from ial_bench.files import atomic_path, write_bytes
from ial_bench.json_files import digest, write_json
from ial_bench.progress import Reporter
from ial_bench.seeds import generator
from ial_bench.synth.photos import PhotoPlan, Photos
from ial_bench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

MODEL = "tiny-street"
N_MERGES = 900
_SAVE_SECONDS, _LOG_SECONDS = 60.0, 10.0
_CURVE_STEPS = 100
_MAX_SCALE = math.log(100.0)
_TEXT_CHUNKS = 4
_SHIFT = 4  # pixels, at most, either way
_GAIN, _TINT, _CONTRAST = 0.10, 0.04, 0.10  # standard deviations

Rows = npt.NDArray[np.int64]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Recipe:
    """How the model is trained. Equal recipes with `steps` give equal weights on one machine.

    Attributes:
        plan: the photos.
        seed: of the first weights, the order of photos and the choice of texts.
        steps: how many; None: as many as `minutes` allow, and the learning rate follows the clock.
        minutes: of training, where `steps` is None.
        batch: photos of a step; the other texts of the batch are what each photo must be distinguished from.
        rate: largest learning rate.
        warm_up: steps of rising rate.
        decay: weight decay of matrices.
        mix: shares of the texts that are a caption, a caption with an address, an address.

    Raises:
        ConfigError: a value that nothing can be trained with.
    """

    plan: PhotoPlan = field(default_factory=PhotoPlan)
    seed: int = 0
    steps: int | None = None
    minutes: float = 15.0
    batch: int = 256
    rate: float = 1e-3
    warm_up: int = 100
    decay: float = 0.05
    mix: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 1) or not 0 < self.minutes < math.inf:
            raise ConfigError("no time to train in", "give --steps or --minutes above 0")
        if self.batch < 2:
            raise ConfigError(f"a batch of {self.batch} has nothing to tell apart", "give at least 2")
        if min(self.mix) < 0 or abs(sum(self.mix) - 1) > 1e-6:
            raise ConfigError(f"{self.mix} are not shares", "give three that add up to 1, such as --mix 0.6,0.25,0.15")


class Texts:
    """The tokens of what may stand for a photo: int64 [n, context] of each kind."""

    def __init__(self, photos: Photos, tokenizer: Callable[[list[str]], torch.Tensor]) -> None:
        def tokens(texts: list[str]) -> torch.Tensor:
            return tokenizer(texts).to(torch.int16)  # the vocabulary is small, and there are many texts

        forms = [photos.addresses[a] for a in photos.address]
        # [kind][form]: short and long; a caption has only one.
        self._kinds = [
            [tokens(photos.captions)],
            [tokens([f"{c}, {f[i]}" for c, f in zip(photos.captions, forms, strict=True)]) for i in (0, 1)],
            [tokens([f[i] for f in forms]) for i in (0, 1)],
        ]

    def choose(self, rows: Rows, mix: tuple[float, float, float], rng: np.random.Generator) -> torch.Tensor:
        """[rows, context]: a text for each photo, of a kind drawn by `mix` and of either form of its address."""
        kinds, forms = rng.choice(3, size=len(rows), p=mix), rng.integers(2, size=len(rows))
        chosen = [self._kinds[k][f % len(self._kinds[k])][r] for r, k, f in zip(rows, kinds, forms, strict=True)]
        return torch.stack(chosen).long()


def batches(seed: int, n: int, size: int, start: int) -> Iterator[Rows]:
    """Rows of the batches from step `start` on, without end; each epoch is an order of its own, its rest left out."""
    each = n // size
    if each == 0:
        raise ConfigError(f"{n} photos are fewer than a batch of {size}", "make more photos, or a smaller batch")
    epoch, first = divmod(start, each)
    while True:
        order = generator("pretrain", seed, "epoch", epoch).permutation(n)
        for i in range(first, each):
            yield np.sort(order[i * size : (i + 1) * size])  # sorted: fewer jumps on the disk
        epoch, first = epoch + 1, 0


def varied(photos: npt.NDArray[np.uint8], rng: np.random.Generator, mean: Any, std: Any) -> torch.Tensor:
    """Photos uint8 [n, h, w, 3], shifted and in another light, as normalised floats [n, 3, h, w].

    Never mirrored: captions say left and right, and streets have sides.
    """
    n, h, w, _ = photos.shape
    down, right = rng.integers(-_SHIFT, _SHIFT + 1, (2, n, 1))
    rows, columns = np.clip(np.arange(h) + down, 0, h - 1), np.clip(np.arange(w) + right, 0, w - 1)
    moved = photos[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    gain = np.exp(rng.normal(0, _GAIN, (n, 1, 1, 1)) + rng.normal(0, _TINT, (n, 3, 1, 1)))
    contrast = np.exp(rng.normal(0, _CONTRAST, (n, 1, 1, 1)))
    pixels = torch.from_numpy(moved).permute(0, 3, 1, 2).float() / 255
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    lit = (middle + (pixels - middle) * torch.from_numpy(contrast).float()) * torch.from_numpy(gain).float()
    lit = lit.clamp(0, 1)
    return (lit - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def encode_trimmed(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """``model.encode_text`` without the columns after the ends of texts: causal attention never sees them.

    Texts of like length go together, so that few of them carry empty columns. Twice as fast as with all columns.
    """
    ends = tokens.argmax(dim=1)  # the end's token is the largest
    order = ends.argsort(stable=True)
    features = []
    for rows in order.chunk(_TEXT_CHUNKS):
        used = int(ends[rows].max()) + 1
        x = model.token_embedding(tokens[rows, :used]) + model.positional_embedding[:used]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:used, :used]))
        features.append(x[torch.arange(len(x)), ends[rows]] @ model.text_projection)
    return torch.cat(features)[order.argsort()]


def contrast_loss(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways: each photo must find its text among the batch's, and each text its photo."""
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def new_model(seed: int) -> tuple[Any, Any]:
    """An untrained model and its tokenizer."""
    network, tokenizer = own_model(MODEL)
    with quiet_build():
        torch.manual_seed(seed)
        model = untrained(network, {})
    return model, tokenizer


def pretrain(recipe: Recipe, photos: Photos, out: Path, cache: Path, reporter: Reporter) -> dict[str, Any]:
    """Train, write the weights to `out` and facts about them to ``out.json``; return the facts.

    A checkpoint in `cache` is written every minute and when the run is stopped; the same call goes on from it.

    Raises:
        StorageError: a file cannot be written.
        DataError: the checkpoint is damaged.
    """
    from safetensors.torch import save_file

    model, tokenizer = new_model(recipe.seed)
    texts = Texts(photos, tokenizer)
    optimiser = _optimiser(model, recipe)
    checkpoint = cache / "pretrain" / f"{digest(asdict(recipe))[:16]}.safetensors"
    step, seconds, curve = 0, 0.0, list[float]()
    if (stored := read_checkpoint(checkpoint)) is not None:
        model.load_state_dict(stored.weights)
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": stored.optimiser, "param_groups": groups})
        step, seconds, curve = (stored.progress[name] for name in ("step", "seconds", "curve"))
        reporter.log(f"pretrain: goes on from step {step:,}")

    def weights() -> dict[str, torch.Tensor]:
        return {k: v.detach().contiguous() for k, v in model.state_dict().items()}

    def save() -> None:
        progress = {"step": step, "seconds": seconds, "curve": curve}
        write_checkpoint(checkpoint, Checkpoint(weights(), None, optimiser.state_dict()["state"], progress))

    model.train()
    model.visual.to(memory_format=torch.channels_last)  # the stem is twice as fast that way
    preprocessing = model.visual.preprocess_cfg
    begun, saved = time.monotonic() - seconds, seconds
    logged, first = seconds, (step, seconds)
    try:
        for rows in batches(recipe.seed, len(photos), recipe.batch, step):
            share = step / recipe.steps if recipe.steps else seconds / (60 * recipe.minutes)
            if share >= 1:
                break
            rng = generator("pretrain", recipe.seed, "step", step)
            pixels = varied(photos.of(rows), rng, preprocessing["mean"], preprocessing["std"])
            loss = _step(model, optimiser, pixels, texts.choose(rows, recipe.mix, rng), _rate(recipe, step, share))
            curve.append(loss)
            step, seconds = step + 1, time.monotonic() - begun
            if seconds - logged >= _LOG_SECONDS:
                logged = seconds
                speed = (step - first[0]) * recipe.batch / (seconds - first[1])
                epoch, recent = step * recipe.batch / len(photos), float(np.mean(curve[-50:]))
                left = seconds * (1 - share) / max(share, 1e-9)
                reporter.log(
                    f"pretrain: step {step:,}, epoch {epoch:.2f}, loss {recent:.3f}, {speed:,.0f} images/s, "
                    f"{left:,.0f} s left"
                )
            if seconds - saved >= _SAVE_SECONDS:
                saved = seconds
                save()
    except BaseException:
        save()
        raise
    with atomic_path(out) as temporary:
        save_file(weights(), temporary)
    facts = _facts(recipe, len(photos), step, seconds, curve, sum(p.numel() for p in model.parameters()))
    write_json(out.with_name(f"{out.name}.json"), facts)
    checkpoint.unlink(missing_ok=True)
    return facts


def relearn_merges(photos: Photos, out: Path) -> int:
    """Learn the tokenizer's merges from the photos' captions and addresses, and write them; how many there are."""
    merges = learn_merges(words_of([*photos.captions, *(form for a in photos.addresses for form in a)]), N_MERGES)
    write_merges(out, merges)
    return len(merges)


def words_of(texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """The words of `texts` as symbols of one byte each, cut and cleaned as the tokenizer does, with their counts."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()  # of its merges nothing is used
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word in tokenizer.pat.findall(tokenizer.clean_fn(text)):
            counts[word] += times
    words: Counter[tuple[str, ...]] = Counter()
    for word, times in counts.items():
        symbols = [tokenizer.byte_encoder[b] for b in word.encode()]
        cut = (*symbols[:-1], f"{symbols[-1]}</w>")
        words[cut] += times
    return words


def learn_merges(words: Counter[tuple[str, ...]], n: int) -> list[Pair]:
    """The `n` merges, each of the pair that is then most frequent; the first in order of text where two tie.

    Stops early when no pair is left. Counts of pairs are updated, not taken again for each merge.
    """
    cut, times = [list(w) for w in words], list(words.values())
    count: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    changed: set[Pair] = set()

    def recount(i: int, sign: int) -> None:
        for pair in pairwise(cut[i]):
            count[pair] += sign * times[i]
            where[pair].add(i)  # stays when the pair goes: an occurrence too many costs a look, nothing else
            changed.add(pair)

    for i in range(len(cut)):
        recount(i, 1)
    heap: list[tuple[int, Pair]] = []
    merges: list[Pair] = []
    while len(merges) < n:
        for pair in changed:
            if count[pair] > 0:
                heapq.heappush(heap, (-count[pair], pair))
        changed.clear()
        while heap and -heap[0][0] != count[heap[0][1]]:
            heapq.heappop(heap)  # an older count of a pair: the present one is in the heap as well
        if not heap:
            break
        best = heapq.heappop(heap)[1]
        merges.append(best)
        for i in where.pop(best):
            recount(i, -1)
            cut[i] = _merged(cut[i], best)
            recount(i, 1)
    return merges


def _merged(symbols: Sequence[str], pair: Pair) -> list[str]:
    """`symbols` with each occurrence of `pair`, from the left, made one symbol."""
    found: list[str] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            found.append(pair[0] + pair[1])
            i += 2
        else:
            found.append(symbols[i])
            i += 1
    return found


def vocabulary_size(n_merges: int) -> int:
    """Tokens of a tokenizer with `n_merges` merges; what a model's configuration gives as ``vocab_size``.

    Without any there is one for each byte inside a word, one for each at its end, and two that begin and end a text.
    """
    return 256 + 256 + n_merges + 2


def write_merges(path: Path, merges: Sequence[Pair]) -> None:
    """Write `merges` in the form that open_clip's SimpleTokenizer reads; equal merges give equal bytes."""
    # No line end after the last: the tokenizer would take an empty line for a merge.
    text = "\n".join(["#version: ial-bench byte-pair merges", *(" ".join(pair) for pair in merges)])
    write_bytes(path, gzip.compress(text.encode(), mtime=0))


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))


def _rate(recipe: Recipe, step: int, share: float) -> float:
    """Up in a line, then down in a cosine over the `share` of the run that is done."""
    return recipe.rate * min(1.0, (step + 1) / recipe.warm_up) * 0.5 * (1 + math.cos(math.pi * share))


def _step(
    model: Any, optimiser: torch.optim.Optimizer, pixels: torch.Tensor, tokens: torch.Tensor, rate: float
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = contrast_loss(model.encode_image(pixels), encode_trimmed(model, tokens), model.logit_scale.exp())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, _MAX_SCALE)
    return float(loss.detach())


def _facts(
    recipe: Recipe, n_photos: int, steps: int, seconds: float, curve: list[float], parameters: int
) -> dict[str, Any]:
    return {
        "model": MODEL,
        "recipe": asdict(recipe),
        "photos": n_photos,
        "steps": steps,
        "epochs": round(steps * recipe.batch / n_photos, 2),
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * recipe.batch / max(seconds, 1e-9), 1),
        "parameters": parameters,
        "loss": round(float(np.mean(curve[-50:])), 4),
        f"loss_each_{_CURVE_STEPS}_steps": [
            round(float(np.mean(curve[i : i + _CURVE_STEPS])), 4) for i in range(0, len(curve), _CURVE_STEPS)
        ],
    }
