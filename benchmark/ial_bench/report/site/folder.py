"""The folder that the report is written to: what of it is the report's, and what is not."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ial_bench.errors import ConfigError, DataError
from ial_bench.files import check_writable, read_json, safe_relative, write_bytes, write_json

MARK = "report.json"
_MADE_BY = "bench report"


class SiteFolder:
    """A folder of which the report owns the files it wrote, and no other.

    A folder with other things in it is refused, so that nothing of somebody's is overwritten. Files of the report that
    was there before and that are not written again are removed at the end.

    Args:
        path: new, empty, or a report.

    Raises:
        ConfigError: it holds something else.
        StorageError: it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[str] = set()
        mark = path / MARK
        if path.is_dir() and any(path.iterdir()) and not _is_report(mark):
            raise ConfigError(
                f"{path} holds other things than a report", "name a new folder: bench report --out FOLDER"
            )
        check_writable(path)
        self._earlier = _files_of(mark)
        write_json(mark, {"made_by": _MADE_BY, "files": sorted(self._earlier)})

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the report, whole or not at all; `name` is below the folder, in POSIX form."""
        write_bytes(self.path / name, content.encode() if isinstance(content, str) else content)
        self.keep(name)

    def keep(self, name: str) -> None:
        """Count a file that lies there already as one of this report."""
        self._written.add(safe_relative(name))

    def close(self) -> None:
        """Remove what is left of the report before, and note what this one is made of."""
        for name in sorted(self._earlier - self._written):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                (self.path / name).unlink()
            with contextlib.suppress(OSError):  # not empty, say
                (self.path / name).parent.rmdir()
        write_json(self.path / MARK, {"made_by": _MADE_BY, "files": sorted(self._written)})


def _is_report(mark: Path) -> bool:
    try:
        told = read_json(mark)
    except DataError:
        return False
    return isinstance(told, dict) and told.get("made_by") == _MADE_BY


def _files_of(mark: Path) -> set[str]:
    """What the report that is there is made of; names that lead out of the folder are not believed."""
    if not _is_report(mark):
        return set()
    found = set()
    for name in read_json(mark).get("files", []):
        with contextlib.suppress(DataError):
            found.add(safe_relative(str(name)))
    return found
