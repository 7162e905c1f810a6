"""The errors users see: each says what is wrong and what mends it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class BenchError(Exception):
    """An error that the user can fix.

    Args:
        problem: what is wrong, naming the file, name or key.
        fix: the command or change that mends it.
    """

    def __init__(self, problem: str, fix: str | None = None) -> None:
        super().__init__(problem, fix)  # both in args, so that it survives pickling between processes
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return self.problem if self.fix is None else f"{self.problem}\n  fix: {self.fix}"


class AddressError(BenchError):
    """A text that is not an address."""


class DataError(BenchError):
    """A dataset folder, annotation file or table that cannot be used."""


class MismatchError(DataError):
    """A table whose size is not that of the record beside it: one of the two is wrong. Its cause says how."""


class ImageError(BenchError):
    """A photo that cannot be decoded."""


class ConfigError(BenchError):
    """A setting that does not exist or has a value it may not have."""


class UnknownNameError(BenchError):
    """A method, dataset or other name that nothing is known under."""


class StorageError(BenchError):
    """A place that cannot be written to: permission, read-only, full."""


class WorkerError(BenchError):
    """A worker process ended or cannot be started: a fault of this machine, not of what was run."""


class PredictionError(BenchError):
    """A method answered with something that is not a valid prediction."""


class SkipMethod(Exception):  # noqa: N818 - not an error: the method cannot run here, and says why
    """Raised by a method that cannot run here: missing weights, extra, captions.

    The run is stored as ``skipped`` with this reason. It is never a crash and never a zero.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def no_exit(what: str) -> Iterator[None]:
    """Guard a call of foreign code: ``sys.exit`` in it would end the command silently, as if all had gone well.

    Raises:
        BenchError: it called ``sys.exit``.
    """
    try:
        yield
    except SystemExit as error:
        raise BenchError(
            f"{what} called sys.exit({error.code!r})", "mend the plugin: it is to raise an error"
        ) from error


def unknown_name(kind: str, name: str, known: Iterable[str], fix: str) -> UnknownNameError:
    """An error for `name`, with the nearest known names if any is near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}{hint}", fix)
