"""Files that are either whole or absent.

Everything the harness writes goes to a temporary name beside its target, is flushed to the disk and then
renamed, so that a reader, a crash or a ``kill -9`` never meets half a file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from ial_bench.errors import DataError, StorageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MENDS = {
    errno.ENOSPC: "free some space on that disk, or point the command at another one; finished work is kept",
    errno.EFBIG: "the system allows no file of that size here; raise the limit, or point the command at another disk",
    errno.EDQUOT: "your disk quota is used up; free some space, or point the command at another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "that disk is read-only; choose another one",
    errno.ENOTDIR: "a part of that path is a file; choose another folder",
    errno.EISDIR: "a folder stands where a file is needed; move it away, or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file stands where a folder is needed; choose another folder",
}

# Safe and in POSIX form as it stands, but for a leading ``./``: told ten times faster than by pathlib.
_ORDINARY_PATH = re.compile(r"(?:\./)?([^/\\\0.\s][^/\\\0]*(?:/[^/\\\0.][^/\\\0]*)*)")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into a :class:`StorageError` naming `path`."""
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if number not in _MENDS:
            raise
        raise StorageError(f"cannot write {path}: {os.strerror(number)}", _MENDS[number]) from error


def _error_number(error: Exception) -> int:
    """The system's number of an error, 0 where it has none. Of libraries in Rust, safetensors say, the text tells."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else 0


def make_folder(path: Path) -> Path:
    """`path`, created with its parents.

    Raises:
        StorageError: it cannot be created.
    """
    with storage_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a parent that cannot hold folders, such as one of /proc
            raise StorageError(f"cannot make the folder {path}: {error.strerror}", "choose another folder") from error
    return path


def check_writable(folder: Path) -> None:
    """Make `folder` and try to write there, so that hours of work do not end at a closed door.

    Raises:
        StorageError: it cannot be written to.
    """
    make_folder(folder)
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path in `target`'s folder, synced and renamed to `target` when the block ends well."""
    make_folder(target.parent)
    with storage_errors(target):
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` as UTF-8, whole or not at all."""
    write_bytes(target, text.encode())


def write_json(target: Path, value: Any) -> None:
    """Write `value` as JSON that a person can read. NaN and infinity are refused: they are not JSON."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        DataError: the file is missing, not UTF-8, not JSON (cut off, say) or has a key twice.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def parse_json(data: bytes, name: str, *, strict: bool = False) -> Any:
    """The JSON value in `data`, which errors call `name`; if `strict`, NaN and infinity are refused: they are not JSON.

    Raises:
        DataError: as of `read_json`.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number if strict else None)
    except (ValueError, RecursionError) as error:  # among them JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{name} is not valid JSON ({error})", "the file may be cut off: get it again") from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of `pairs`; JSON leaves open which value counts where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The tables in `path`.

    Raises:
        DataError: the file is missing, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # among them TOMLDecodeError and UnicodeDecodeError
        raise DataError(f"{path} is not valid TOML: {error}") from error


def canonical_json(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no blanks: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    total = hashlib.sha256()
    while block := file.read(1 << 20):
        total.update(block)
    return total.hexdigest()


def safe_relative(text: str) -> str:
    """A path below a folder, in POSIX form, from a file of somebody else's.

    Raises:
        DataError: the path is empty, absolute or climbs out of the folder with ``..``.
    """
    if ordinary := _ORDINARY_PATH.fullmatch(text):
        return ordinary[1]
    path = PurePosixPath(text.replace("\\", "/"))
    if not text.strip() or path.is_absolute() or ".." in path.parts or "\0" in text or str(path) == ".":
        raise DataError(f"unsafe photo path {text!r}", "paths must lie below the images folder: no '..', not absolute")
    return str(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
