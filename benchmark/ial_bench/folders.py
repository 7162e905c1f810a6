"""Folders: where results, cache and datasets lie, and how they are written to.

Each home has an option, an environment variable and a default. A folder has one writer at a time, which writes nothing
outside of it, whatever links lie in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ial_bench.errors import ConfigError, StorageError
from ial_bench.files import check_target, make_folder, storage_errors

RESULTS_VARIABLE = "IAL_BENCH_RESULTS"
CACHE_VARIABLE = "IAL_BENCH_CACHE"
DATA_VARIABLE = "IAL_BENCH_DATA"
LOCK = ".writing.lock"
"""Lock of the process that writes to a folder, removed at its end. A killed process leaves the file behind,
unlocked."""
UNFINISHED = ".unfinished.json"
"""Says what is being made in a folder. Written first and removed last, so that the same command resumes after a
kill."""
_HALF = ".*.tmp"


def results_home(given: Path | None = None) -> Path:
    """Where run records go: `given`, ``$IAL_BENCH_RESULTS`` or ``results`` in the working directory."""
    return _home(given, RESULTS_VARIABLE) or Path("results")


def cache_home(given: Path | None = None) -> Path:
    """Where features, half-done runs and fitted methods go: `given`, ``$IAL_BENCH_CACHE`` or the user's."""
    from platformdirs import user_cache_path

    return _home(given, CACHE_VARIABLE) or user_cache_path("ial-bench")


def data_home(given: Path | None = None) -> Path:
    """Where datasets lie by name: `given`, ``$IAL_BENCH_DATA`` or the user's data folder."""
    from platformdirs import user_data_path

    return _home(given, DATA_VARIABLE) or user_data_path("ial-bench") / "datasets"


def _home(given: Path | None, variable: str) -> Path | None:
    if given is not None:
        return given.expanduser()
    if text := os.environ.get(variable):
        return Path(text).expanduser()
    return None


def inside(folder: Path, name: str) -> Path:
    """The path `name` below `folder`, to be written to or removed, with no link on the way.

    Args:
        folder: the one that the user named; it may itself be a link.
        name: relative, in POSIX form, without ``..``.

    Raises:
        StorageError: a link is on the way.
    """
    path = folder
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink():
            raise StorageError(
                f"{path} is a link: nothing is written or removed through links in {folder}",
                "remove the link, or name another folder",
            )
    return path


def is_left(path: Path) -> bool:
    """Whether `path` has the name of a file that a killed process leaves behind besides its work."""
    return path.name in {LOCK, UNFINISHED} or fnmatch(path.name, _HALF)


def is_free(folder: Path, but: str = "") -> bool:
    """Whether `folder` is missing, or holds only leftovers of a killed process and an entry named `but`.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(folder):
        return not folder.exists() or (folder.is_dir() and all(p.name == but or is_left(p) for p in folder.iterdir()))


@contextlib.contextmanager
def alone(folder: Path, say: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold `folder` for writing, so that no two processes write there.

    Args:
        folder: created with its parents if missing, and removed again if nothing was put in.
        say: called with a line if this process has to wait for another; None: it does not wait.

    Raises:
        ConfigError: another process writes there, and `say` is None.
        StorageError: the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    with storage_errors(folder):
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
    path = make_folder(folder) / LOCK
    check_target(path)  # as `locked`
    lock = FileLock(path)
    with storage_errors(path), _without_locks():
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            if say is None:
                raise ConfigError(
                    f"another process writes to {folder}", "wait for it, or give another folder"
                ) from error
            say(f"another process writes to {folder}; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # whoever waits looks at the path again, not at this file
        lock.release()
        with contextlib.suppress(OSError):  # usually not empty
            for made in missing:
                made.rmdir()


@contextlib.contextmanager
def locked(folder: Path, lock: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of what lies in `folder`. Errors of its disk in the block name the folder.

    Args:
        folder: what is being worked on.
        lock: the lock's file, which another process may hold.
        timeout: seconds to wait for it; -1: for ever.

    Raises:
        filelock.Timeout: another process holds it.
        StorageError: the folder cannot be written to.
    """
    from filelock import FileLock

    check_target(lock)  # a lock empties its file, which must not be another one behind a link
    with storage_errors(folder), FileLock(lock, timeout=timeout):
        yield


@contextlib.contextmanager
def _without_locks() -> Iterator[None]:
    """Go on where the file system has no locks, as on some clusters: nobody can be kept out there."""
    try:
        yield
    except NotImplementedError:  # of filelock before version 4
        return
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}:
            raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which takes its place when the block ends well.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    yield fresh
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def move(source: Path, target: Path) -> None:
    """Move a folder to `target` and replace what is there, across disks too; `target` is whole or absent.

    Raises:
        StorageError: the target's disk is full or cannot be written to.
    """
    with storage_errors(target):
        shutil.rmtree(target, ignore_errors=True)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            half = target.with_name(f".{target.name}.tmp")
            shutil.rmtree(half, ignore_errors=True)
            try:
                shutil.copytree(source, half)
            except shutil.Error as several:  # of each file that could not be copied: source, target, why
                shutil.rmtree(half, ignore_errors=True)
                raise StorageError(
                    f"cannot copy {source} to {target}: {several.args[0][0][2]}",
                    "free some space on that disk, or point the command at another one",
                ) from several
            half.rename(target)
            shutil.rmtree(source, ignore_errors=True)
