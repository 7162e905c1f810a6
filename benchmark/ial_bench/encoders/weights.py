"""Where weights come from: checkpoints, opened without running code in them, and the hubs and their caches."""

from __future__ import annotations

import os
import pickle
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import ConfigError, DataError, SkipMethod

_CONNECT_SECONDS = 3.0
_SHOWN = 200
_REFUSED = re.compile(r"GLOBAL (?P<name>\S+)|allowlisted|unrecognized function")
_UNEXPECTED = re.compile(r" (?=Unexpected key|size mismatch)")


def parsed(text: str) -> EncoderSpec:
    """The spec, its files looked for.

    Raises:
        ConfigError: a bad spec, or a checkpoint that does not exist.
    """
    spec = EncoderSpec.parse(text)
    for file in spec.weights_files:
        if not file.is_file():
            raise ConfigError(
                f"no such weights file: {file} (in {text!r})", "give the path of a checkpoint that exists"
            )
    return spec


@contextmanager
def opening(file: Path, text: str) -> Iterator[None]:
    """Tell the errors of reading `file` into the model that the spec `text` names.

    Raises:
        DataError: damaged, unsafe or for another model.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise _unreadable(file, error) from error
    except (RuntimeError, LookupError, ValueError, OSError, TypeError, AttributeError, EOFError) as error:
        if "TorchScript" in str(error):  # as OpenAI published CLIP; loading one runs the program in it
            raise DataError(
                f"{file} cannot be loaded safely: it is a TorchScript archive, a program with its weights",
                "take the same weights as tensors, such as openclip:ViT-B-16/openai, which open_clip gets as "
                "safetensors from its hub, or the path of that open_clip_model.safetensors",
            ) from error
        raise DataError(
            f"{file} does not hold weights of {text!r}: {_shortened(error)}",
            "check that model and checkpoint belong together, and that the file is whole",
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise DataError(f"{file} is damaged: {error}", "get the file again") from error
        raise


def _unreadable(file: Path, error: pickle.UnpicklingError) -> DataError:
    """What would run code, by its name; or what is no checkpoint at all."""
    if (refused := _REFUSED.search(str(error))) is None:
        return DataError(f"{file} is damaged, or no checkpoint of torch", "get the file again")
    return DataError(
        f"{file} cannot be loaded safely: beside tensors it has {refused['name'] or 'objects'}, which may run code",
        "weights must be tensors alone: convert the file to safetensors from a source you trust",
    )


def _shortened(error: Exception) -> str:
    """An error's text on one line; of torch's long lists of tensors the first missing ones and the first too many."""
    told = " ".join(str(error).split()) or type(error).__name__
    parts = [part if len(part) <= _SHOWN else f"{part[:_SHOWN]} ..." for part in _UNEXPECTED.split(told)]
    return " ".join(parts)


def first_line(error: Exception) -> str:
    """The first line of an error's text, its kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    """The first of the files `names` of a hub's repository that is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    for name in names if repository else ():
        if isinstance(found := try_to_load_from_cache(repository, name), str):
            return Path(found)
    return None


def fetched(text: str, cached: Path | None, host: str, fetch: Callable[[], str], instead: str) -> Path:
    """The cached file, or a download.

    Args:
        text: the encoder's name.
        cached: the file, where it is on this machine.
        host: where it would come from.
        fetch: gets it.
        instead: the spec of the same encoder from a file of the user's.

    Raises:
        SkipMethod: there is neither; with the reason.
    """
    if cached is not None:
        return cached
    away = f"weights of {text} are not on this machine"
    if (why := unreachable(host)) is not None:
        raise SkipMethod(f"{away} and {why}; with a checkpoint at hand, write {instead}")
    try:
        return Path(fetch())
    except Exception as error:
        raise SkipMethod(f"{away} and could not be downloaded: {first_line(error)}") from error


def unreachable(host: str) -> str | None:
    """Why nothing can be downloaded from `host`; None if that can be tried."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return "HF_HUB_OFFLINE is set"
    return None if reachable(host) else f"{host} cannot be reached"


def hub_host() -> str:
    """The host of the hub in use."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or ""


@cache
def reachable(host: str) -> bool:
    """Whether `host` answers within seconds: the hubs' own clients retry for a minute before they give up."""
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # a proxy resolves names; its own error will have to do
    try:
        with socket.create_connection((host, 443), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False
