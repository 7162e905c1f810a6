"""BLIP (Li et al., ICML 2022) through transformers, from a hub or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.captions.captioners import BLIP_REPOSITORIES, PROMPT, CaptionLength, trimmed
from ial_bench.encoders.weights import fetched, hub_host, in_hub_cache, opening
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.files import sha256_file
from ial_bench.images import RGB
from ial_bench.json_files import digest

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENS_A_WORD = 1.5  # more than English takes, so that the number of words is what ends a caption


class Blip:
    """Greedy captions that go on from the prompt.

    Args:
        spec: ``blip-large``, ``blip-base`` or ``blip:FOLDER`` with what `save_pretrained` wrote.
        device: torch device.
        length: of a caption.

    Raises:
        ConfigError: transformers or the weights cannot be had here.
        DataError: the folder does not hold a BLIP captioner.
    """

    def __init__(self, spec: str, device: str, length: CaptionLength) -> None:
        try:
            from transformers import BlipForConditionalGeneration, BlipProcessor
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise ConfigError("BLIP needs transformers", "pip install 'ial-bench[caption]'") from error
        folder = _folder(spec)
        disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading: it takes a second, and would stand in the way of ours
        with opening(folder, "BLIP"):
            self._processor: Any = BlipProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        self._model = model.eval().to(device)
        self._device, self._length = device, length
        weights = [sha256_file(file) for name in _WEIGHTS if (file := folder / name).is_file()]
        self._identity = f"{spec if spec in BLIP_REPOSITORIES else 'blip'} {digest(weights)[:16]}"

    @property
    def identity(self) -> str:
        """Name, and digest of the weights."""
        return self._identity

    def captions(self, photos: Sequence[RGB]) -> list[str]:
        """Greedy, so that a caption depends on its photo alone."""
        import torch

        inputs = self._processor(images=[np.array(p) for p in photos], text=[PROMPT] * len(photos), return_tensors="pt")
        started = inputs["input_ids"].shape[1] - 1  # what the model adds to is the prompt without its end
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs.to(self._device),
                do_sample=False,
                num_beams=1,
                min_length=started + self._length.least - len(PROMPT.split()),
                max_length=started + int(_TOKENS_A_WORD * self._length.most),
            )
        return [trimmed(t, self._length) for t in self._processor.batch_decode(tokens, skip_special_tokens=True)]


def _folder(spec: str) -> Path:
    """Where the model's files lie.

    Raises:
        ConfigError: nowhere on this machine, and they cannot be downloaded.
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
