"""A repository for a public leaderboard: packs as pull requests, verified, merged and published by a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import ial_bench
from ial_bench.errors import ConfigError
from ial_bench.files import storage_errors, write_text
from ial_bench.folders import inside, is_left

_FILES = {
    "README.md": "README.md",
    "datasets.sh": "datasets.sh",
    "verify.sh": "verify.sh",
    "publish.sh": "publish.sh",
    "leaderboard.yml": ".github/workflows/leaderboard.yml",
}
_IGNORED = "/data/\n/results/\n/site/\n"


def write_template(folder: Path) -> list[Path]:
    """Write the repository's files.

    Args:
        folder: new or empty, or some of these very files, as a call that was interrupted leaves them.

    Raises:
        ConfigError: it holds something else.
        StorageError: it cannot be written to.
    """
    source = files("ial_bench") / "packs" / "board"
    texts = {
        target: (source / name).read_text(encoding="utf-8").replace("@VERSION@", ial_bench.__version__)
        for name, target in _FILES.items()
    }
    hidden = {".gitignore": _IGNORED, "packs/synth-city/.gitkeep": ""}
    if not _is_begun(folder, {**texts, **hidden}):
        raise ConfigError(f"{folder} is there already", "name a new folder")
    for target, text in {**texts, **hidden}.items():
        write_text(inside(folder, target), text)
    return [folder / target for target in texts]


def _is_begun(folder: Path, texts: Mapping[str, str]) -> bool:
    """Whether `folder` holds only some of these texts, and what a killed process leaves."""
    if folder.exists() and not folder.is_dir():
        return False
    with storage_errors(folder):
        there = [p for p in folder.rglob("*") if not p.is_dir() and not is_left(p)]
        return all(_holds(p, texts.get(p.relative_to(folder).as_posix())) for p in there)


def _holds(file: Path, text: str | None) -> bool:
    return text is not None and file.is_file() and file.read_bytes() == text.encode()
