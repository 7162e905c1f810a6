"""CoCa (Yu et al., TMLR 2022) through open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ial_bench.captions.captioners import PROMPT, CaptionLength, trimmed
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.files import sha256_file
from ial_bench.images import RGB
from ial_bench.json_files import digest

if TYPE_CHECKING:
    import torch


class CoCa:
    """Greedy captions that go on from the prompt.

    open_clip's own generation needs classes that later releases of transformers lack; greedy decoding needs neither.

    Args:
        model: ``MODEL/PRETRAINED_OR_FILE`` as of an ``openclip:`` encoder.
        device: torch device.
        length: of a caption.

    Raises:
        ConfigError: no such model, one that writes no captions, or its weights cannot be had here.
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
        self._identity = f"coca:{model.rsplit('/', 1)[0].rsplit('/', 1)[-1]} {digest(weights)[:16]}"

    @property
    def identity(self) -> str:
        """Name, and digest of the weights."""
        return self._identity

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
        """int64 [n, t]: start, prompt, the likeliest word after word, and after a caption's end nothing but ends."""
        import torch

        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        prompt = self._tokenizer.encode(PROMPT)
        tokens = torch.tensor([[start, *prompt]], device=pixels.device).repeat(len(pixels), 1)
        least = len(prompt) + 1 + self._length.least - len(PROMPT.split())
        most = min(self._model.context_length, len(prompt) + 1 + int(1.5 * self._length.most))
        latent, embedded = self._model._encode_image(pixels)  # noqa: SLF001 - encoded once for all words
        done = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        while tokens.shape[1] < most and not bool(done.all()):
            told = self._model(pixels, tokens, image_latent=latent, image_embs=embedded, output_labels=False)
            logits = told["logits"][:, -1]
            if tokens.shape[1] < least:
                logits[:, end] = -torch.inf
            following = torch.where(done, end, logits.argmax(dim=1))
            done |= following == end
            tokens = torch.cat([tokens, following[:, None]], dim=1)
        return tokens
