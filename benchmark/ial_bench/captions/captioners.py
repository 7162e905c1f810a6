"""Captioners: the models known by name, and the form all captions are brought into.

BLIP (Li et al., ICML 2022) comes through transformers, from a hub or a folder; CoCa (Yu et al., TMLR 2022) through
open_clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ial_bench.encoders.weights import fetched, hub_host, in_hub_cache, opening
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.files import sha256_file
from ial_bench.images import RGB
from ial_bench.json_files import digest

if TYPE_CHECKING:
    import torch

PROMPT = "A street view of"
"""What every caption begins with (AddressCLIP, section 3.2)."""
FORMS = "blip-large, blip-base, blip:FOLDER, coca:MODEL/PRETRAINED_OR_FILE or the path of a .jsonl or .csv file"
BLIP_REPOSITORIES = {
    "blip-base": "Salesforce/blip-image-captioning-base",
    "blip-large": "Salesforce/blip-image-captioning-large",
}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENS_A_WORD = 1.5  # more than English needs, so that the number of words ends a caption


@dataclass(frozen=True)
class CaptionLength:
    """Words of a caption, the prompt's among them.

    Attributes:
        least: shorter captions are prevented.
        most: longer captions are cut.
    """

    least: int = 10
    most: int = 30


class Captioner(Protocol):
    """Writes captions."""

    @property
    def identity(self) -> str:
        """What its captions depend on: model and weights."""
        ...

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        """A caption of each photo, uint8 [height, width, 3]."""
        ...


def open_captioner(spec: str, device: str, length: CaptionLength) -> Captioner:
    """The model that `spec` names.

    Raises:
        ConfigError: no such captioner, or it is not available here; with what to do.
        DataError: a damaged or foreign checkpoint.
    """
    if spec in BLIP_REPOSITORIES or spec.startswith("blip:"):
        return Blip(spec, device, length)
    if spec.startswith("coca:"):
        return CoCa(spec.removeprefix("coca:"), device, length)
    raise ConfigError(f"{spec!r} is no captioner", f"one of {FORMS}")


def trimmed(text: str, length: CaptionLength) -> str:
    """`text` on one line, starting with the prompt, of at most `length.most` words; an incomplete end stays."""
    words = text.split()
    prompt = PROMPT.split()
    if [w.lower() for w in words[: len(prompt)]] == [w.lower() for w in prompt]:
        words = words[len(prompt) :]
    return " ".join([*prompt, *words][: length.most])


class Blip:
    """Greedy captions that continue the prompt.

    Args:
        spec: ``blip-large``, ``blip-base`` or ``blip:FOLDER`` with what `save_pretrained` wrote.
        device: torch device.
        length: of a caption.

    Attributes:
        identity: name, and digest of the weights.

    Raises:
        ConfigError: transformers or the weights are not available here.
        DataError: the folder does not hold a BLIP captioner.
    """

    def __init__(self, spec: str, device: str, length: CaptionLength) -> None:
        try:
            from transformers import BlipForConditionalGeneration, BlipProcessor
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise ConfigError("BLIP needs transformers", "pip install 'ial-bench[caption]'") from error
        folder = _blip_folder(spec)
        disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading: it takes a second, and would disturb ours
        with opening(folder, "BLIP"):
            self._processor: Any = BlipProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        self._model = model.eval().to(device)
        self._device, self._length = device, length
        weights = [sha256_file(file) for name in _WEIGHTS if (file := folder / name).is_file()]
        self.identity = f"{spec if spec in BLIP_REPOSITORIES else 'blip'} {digest(weights)[:16]}"

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        """Greedy, so that a caption depends on its photo alone."""
        import torch

        inputs = self._processor(images=[np.array(p) for p in photos], text=[PROMPT] * len(photos), return_tensors="pt")
        started = inputs["input_ids"].shape[1] - 1  # the model continues the prompt without its end token
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs.to(self._device),
                do_sample=False,
                num_beams=1,
                min_length=started + self._length.least - len(PROMPT.split()),
                max_length=started + int(_TOKENS_A_WORD * self._length.most),
            )
        return [trimmed(t, self._length) for t in self._processor.batch_decode(tokens, skip_special_tokens=True)]


def _blip_folder(spec: str) -> Path:
    """Where the model's files lie.

    Raises:
        ConfigError: they are not on this machine, and cannot be downloaded.
    """
    if spec not in BLIP_REPOSITORIES:
        folder = Path(spec.removeprefix("blip:"))
        if not (folder / "config.json").is_file():
            raise ConfigError(f"no BLIP captioner in {folder}: no config.json", "give the folder of a saved model")
        return folder
    from huggingface_hub import hf_hub_download, snapshot_download

    repository = BLIP_REPOSITORIES[spec]

    def download() -> str:
        snapshot_download(repository, ignore_patterns=["*.h5", "*.msgpack", "*.onnx"])
        return str(hf_hub_download(repository, "config.json"))

    whole = in_hub_cache(repository, _WEIGHTS) is not None
    cached = in_hub_cache(repository, ["config.json"]) if whole else None
    try:
        return fetched(spec, cached, hub_host(), download, "blip:FOLDER").parent
    except SkipMethod as skip:
        raise ConfigError(skip.reason, f"download {repository} elsewhere and give blip:FOLDER") from skip


class CoCa:
    """Greedy captions that continue the prompt.

    open_clip's own generation needs classes that later releases of transformers lack; greedy decoding needs neither.

    Args:
        model: ``MODEL/PRETRAINED_OR_FILE`` as of an ``openclip:`` encoder.
        device: torch device.
        length: of a caption.

    Attributes:
        identity: name, and digest of the weights.

    Raises:
        ConfigError: no such model, one that writes no captions, or its weights are not available here.
        DataError: a damaged or foreign checkpoint.
    """

    def __init__(self, model: str, device: str, length: CaptionLength) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        from ial_bench.encoders.openclip import build_openclip

        try:
            built = build_openclip(f"openclip:{model}")
        except SkipMethod as skip:
            raise ConfigError(skip.reason, "give a checkpoint's path: coca:MODEL/FILE") from skip
        if not hasattr(built.model, "text_decoder"):
            raise ConfigError(f"{model.partition('/')[0]} writes no captions", "give a CoCa model: coca_ViT-L-14/TAG")
        self._tokenizer = SimpleTokenizer()
        self._model: Any = built.model.to(device)
        self._preprocess, self._device, self._length = built.preprocess, device, length
        weights = "" if built.source.file is None else sha256_file(built.source.file)
        self.identity = f"coca:{model.rsplit('/', 1)[0].rsplit('/', 1)[-1]} {digest(weights)[:16]}"

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        """Greedy, so that a caption depends on its photo alone."""
        import torch

        pixels = torch.stack([self._preprocess(photo) for photo in photos]).to(self._device)
        with torch.inference_mode():
            tokens = self._generate(pixels).cpu().tolist()
        end = self._tokenizer.eot_token_id
        texts = [self._tokenizer.decode(t[1 : t.index(end) if end in t else None]) for t in tokens]
        return [trimmed(text, self._length) for text in texts]

    def _generate(self, pixels: torch.Tensor) -> torch.Tensor:
        """int64 [n, t]: start, prompt, then the likeliest token each time; after a caption's end only end tokens."""
        import torch

        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        prompt = self._tokenizer.encode(PROMPT)
        tokens = torch.tensor([[start, *prompt]], device=pixels.device).repeat(len(pixels), 1)
        least = len(prompt) + 1 + self._length.least - len(PROMPT.split())
        most = min(self._model.context_length, len(prompt) + 1 + int(_TOKENS_A_WORD * self._length.most))
        latent, embedded = self._model._encode_image(pixels)  # noqa: SLF001 - encoded once for all words
        done = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        while tokens.shape[1] < most and not bool(done.all()):
            output = self._model(pixels, tokens, image_latent=latent, image_embs=embedded, output_labels=False)
            logits = output["logits"][:, -1]
            if tokens.shape[1] < least:
                logits[:, end] = -torch.inf
            following = torch.where(done, end, logits.argmax(dim=1))
            done |= following == end
            tokens = torch.cat([tokens, following[:, None]], dim=1)
        return tokens
