"""A repository for a public leaderboard: packs as pull requests, verified, merged and published by a workflow."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import ial_bench
from ial_bench.errors import ConfigError
from ial_bench.files import make_folder, write_text

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
        folder: new or empty.

    Raises:
        ConfigError: it holds something.
        StorageError: it cannot be written to.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already", "name a new folder")
    source = files("ial_bench") / "packs" / "board"
    written = []
    for name, target in _FILES.items():
        text = (source / name).read_text(encoding="utf-8")
        write_text(folder / target, text.replace("@VERSION@", ial_bench.__version__))
        written.append(folder / target)
    write_text(folder / ".gitignore", _IGNORED)
    write_text(make_folder(folder / "packs" / "synth-city") / ".gitkeep", "")
    return written
