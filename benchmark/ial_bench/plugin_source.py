"""The source of a plugin: read without importing it, and known by its SHA-256.

A plugin's author changes its code far more often than its version. The digest of the source is therefore part of each
of its runs, so that a number never passes for one of other code.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType

from ial_bench.errors import BenchError
from ial_bench.files import sha256_file
from ial_bench.json_files import digest

_CODE = frozenset({".py", ".pyx", ".so", ".pyd"})
_METADATA = (".dist-info", ".egg-info")


def file_digest(file: Path) -> str | None:
    """SHA-256 of a plugin file's bytes; None where it cannot be read."""
    try:
        return sha256_file(file)
    except OSError:
        return None


def import_file(file: Path, name: str) -> ModuleType:
    """Import a plugin file from its source as it is now.

    Python matches compiled code to its source by size and by the second of its last change. It would run old code where
    a file changed within a second and kept its size, as when a sign is flipped.

    Args:
        file: the plugin file.
        name: the module's name.

    Raises:
        Exception: whatever its code raises.
    """
    loader = _Fresh(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101 - the loader finds itself
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


class _Fresh(importlib.machinery.SourceFileLoader):
    """Reads the source each time, and keeps no compiled code."""

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        """Compiled from the source."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def distribution_digest(point: importlib.metadata.EntryPoint) -> str | None:
    """Digest of the names and bytes of all files of the distribution that an entry point belongs to.

    Compiled Python, the distribution's metadata and files outside the folder that it is imported from (scripts, which
    name an interpreter) do not count. Where it lists no source, as an editable install does, the files of the entry
    point's top-level package count; an ordinary install of the same source names them alike.

    Returns:
        None where no source is found.
    """
    files = _listed(point)
    if not any(Path(name).suffix in _CODE for name in files):
        files = _of_package(point.module.partition(".")[0])
    return digest({name: sha256_file(path) for name, path in files.items()}) if files else None


def _listed(point: importlib.metadata.EntryPoint) -> dict[str, Path]:
    """The files by name that an ordinary install lists."""
    if point.dist is None or _is_editable(point.dist):
        return {}
    found = {}
    for file in point.dist.files or ():
        name = PurePosixPath(file)
        outside = name.is_absolute() or ".." in name.parts or name.parts[0].endswith(_METADATA)
        if not outside and _counts(name) and (path := Path(str(file.locate()))).is_file():
            found[str(name)] = path
    return found


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        found = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(found.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):  # not written by an installer that keeps to the standard
        return False


def _of_package(name: str) -> dict[str, Path]:
    """The files by name of a top-level package or module, which is found and not imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return {}
    if spec is None:
        return {}
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders and spec.origin is not None and Path(spec.origin).is_file():
        return {Path(spec.origin).name: Path(spec.origin)}
    return dict(_below(folders, name))


def _below(folders: list[Path], name: str) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            below = PurePosixPath(name, path.relative_to(folder).as_posix())
            if _counts(below) and path.is_file():
                yield str(below), path


def _counts(name: PurePosixPath) -> bool:
    """Whether a file is the author's: neither compiled nor hidden, and no path file that redirects imports."""
    hidden = any(part == "__pycache__" or part.startswith(".") for part in name.parts)
    return not hidden and name.suffix not in {".pyc", ".pyo", ".pth"}


def error_line(error: BaseException, file: Path | None) -> str:
    """An error on one line, with FILE:LINE: the last place in a plugin's file, or where an installed one raised it.

    An error that is found here, such as a class that is no method, has no place.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    text = error.problem if isinstance(error, BenchError) else str(error)
    line = f"{type(error).__name__}: {' '.join(text.split())}".removesuffix(": ")
    frames = traceback.extract_tb(error.__traceback__)
    places = [f for f in frames if file is not None and f.filename == str(file)]
    places = places or [f for f in frames if not f.filename.startswith("<frozen")]
    if not places or Path(places[-1].filename).is_relative_to(Path(__file__).parent):
        return line
    return f"{line} ({places[-1].filename}:{places[-1].lineno})"
