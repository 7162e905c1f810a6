"""The folder that the report is written to: what of it is the report's, and what is not."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ial_bench.errors import BenchError, ConfigError, DataError
from ial_bench.files import check_writable, safe_relative, write_bytes
from ial_bench.folders import alone, inside, is_free
from ial_bench.json_files import read_json, write_json

MARK = "report.json"
_MADE_BY = "bench report"


class SiteFolder:
    """A folder of which the report owns the files it wrote, and no other.

    A folder with other things in it is refused, so that nothing of somebody's is overwritten. Files of the report that
    was there before and that are not written again are removed at the end. What a link leads to is never touched.
    Until it is closed, `MARK` says that the report is unfinished; the next one goes on from there.

    Args:
        path: new, empty, or a report, whole or not.

    Raises:
        ConfigError: it holds something else.
        StorageError: it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[str] = set()
        check_folder(path)
        check_writable(path)
        self._earlier = _files_of(path / MARK)
        write_json(path / MARK, {"made_by": _MADE_BY, "state": "unfinished", "files": sorted(self._earlier)})

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the report, whole or not at all; `name` is below the folder, in POSIX form.

        Raises:
            StorageError: a link is on the way, or it cannot be written.
        """
        write_bytes(inside(self.path, name), content.encode() if isinstance(content, str) else content)
        self.keep(name)

    def keep(self, name: str) -> None:
        """Count a file that lies there already as one of this report."""
        self._written.add(safe_relative(name))

    def close(self) -> None:
        """Remove what is left of the report before, and note what this one is made of."""
        for name in sorted(self._earlier - self._written):
            _remove(self.path, name)
        write_json(self.path / MARK, {"made_by": _MADE_BY, "files": sorted(self._written)})


@contextlib.contextmanager
def site_folder(path: Path, say: Callable[[str], object]) -> Iterator[SiteFolder]:
    """The folder, for one report at a time, closed when the block ends well; `say` is told where it must wait.

    Raises:
        ConfigError: as of `SiteFolder`.
        StorageError: as of `SiteFolder`.
    """
    check_folder(path)  # before a lock is laid into a folder of somebody's
    with alone(path, say):
        folder = SiteFolder(path)
        yield folder
        folder.close()


def check_folder(path: Path) -> None:
    """Refuse a folder with other things in it than a report.

    Raises:
        ConfigError: it is one.
    """
    if not is_free(path) and not _is_report(path / MARK):
        raise ConfigError(f"{path} holds other things than a report", "name a new folder: bench report --out FOLDER")


def _remove(folder: Path, name: str) -> None:
    """Remove a file below `folder`, and the folder it leaves empty; what a link leads to stays."""
    try:
        file = inside(folder, name)
        if not stat.S_ISREG(file.lstat().st_mode):
            return
        file.unlink()
        file.parent.rmdir()
    except (BenchError, OSError):  # a link, gone already, or a folder that is not empty
        return


def _is_report(mark: Path) -> bool:
    try:
        told = read_json(mark)
    except DataError:
        return False
    return isinstance(told, dict) and told.get("made_by") == _MADE_BY


def _files_of(mark: Path) -> set[str]:
    """What the report that is there is made of; names that lead out of the folder are not believed."""
    names = read_json(mark).get("files") if _is_report(mark) else None
    found = set()
    for name in names if isinstance(names, list) else []:
        with contextlib.suppress(DataError):
            found.add(safe_relative(str(name)))
    return found
