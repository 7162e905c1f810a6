"""Finds methods and datasets: installed entry points, and single files given with ``--plugin``.

Nothing is imported until it is asked for. A plugin that fails to import stays listed, with its reason.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from ial_bench.errors import BenchError, ConfigError, UnknownNameError, unknown_name

if TYPE_CHECKING:
    from ial_bench.datasets.known import DatasetCard
    from ial_bench.method import Method

METHODS, DATASETS = "ial_bench.methods", "ial_bench.datasets"
_OWN = "ial-bench"


@dataclass(frozen=True)
class Entry:
    """A method that is known by name, not yet imported.

    Attributes:
        name: the name to run it by.
        origin: the distribution or file it comes from.
        load: imports it.
    """

    name: str
    origin: str
    load: Callable[[], Any]


@dataclass(frozen=True)
class Broken:
    """A method that cannot be imported: the reason in a line, and the whole traceback."""

    name: str
    origin: str
    reason: str
    traceback: str


class Registry:
    """The methods that can be run.

    Built-in names win over a plugin's; of two plugins with one name, the first installed wins. Both are told
    in `notes`.

    Args:
        plugins: Python files given on the command line.
    """

    def __init__(self, plugins: Iterable[Path] = ()) -> None:
        self.notes: list[str] = []
        self._entries: dict[str, Entry] = {}
        self._loaded: dict[str, type[Method] | Broken] = {}
        found = [(p.dist.name if p.dist else "?", p) for p in entry_points(group=METHODS)]
        for origin, point in sorted(found, key=lambda f: f[0] != _OWN):
            self._add(Entry(point.name, origin, point.load))
        for file in plugins:
            for entry in _file_entries(file):
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        earlier = self._entries.setdefault(entry.name, entry)
        if earlier is not entry:
            self.notes.append(f"method {entry.name!r} of {entry.origin} is hidden by the one of {earlier.origin}")

    @property
    def names(self) -> list[str]:
        """All names, sorted, broken ones among them."""
        return sorted(self._entries)

    def origin(self, name: str) -> str:
        """The distribution or file a method comes from."""
        return self._entries[name].origin

    def look(self, name: str) -> type[Method] | Broken:
        """The method's class, or why it cannot be had.

        Raises:
            UnknownNameError: nothing has that name.
        """
        if name not in self._entries:
            raise unknown_name("method", name, self._entries, "`bench list methods` shows all")
        if name not in self._loaded:
            self._loaded[name] = self._load(self._entries[name])
        return self._loaded[name]

    def get(self, name: str) -> type[Method]:
        """The method's class.

        Raises:
            UnknownNameError: nothing has that name.
            ConfigError: the plugin is broken.
        """
        found = self.look(name)
        if isinstance(found, Broken):
            raise ConfigError(
                f"method {name!r} of {found.origin} is broken: {found.reason}",
                f"`bench show {name}` prints its traceback; mend or uninstall the plugin",
            )
        return found

    def select(self, text: str) -> list[str]:
        """Names from ``a,b,c`` or ``all`` (all that are not broken).

        Raises:
            UnknownNameError: nothing has one of the names.
        """
        if text == "all":
            return [n for n in self.names if not isinstance(self.look(n), Broken)]
        names = list(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
        if not names:
            raise UnknownNameError("no method named", "give --methods NAME,NAME or --methods all")
        for name in names:
            self.look(name)
        return names

    def _load(self, entry: Entry) -> type[Method] | Broken:
        from ial_bench.method import Method
        from ial_bench.settings import check_presets

        try:
            loaded = entry.load()
            if not (inspect.isclass(loaded) and issubclass(loaded, Method)):
                raise TypeError(f"{entry.name} is a {type(loaded).__name__}, not a subclass of ial_bench.Method")
            if inspect.isabstract(loaded):
                missing = ", ".join(sorted(loaded.__abstractmethods__))
                raise TypeError(f"{loaded.__name__} does not implement {missing}")
            if loaded.info.name != entry.name:
                raise TypeError(f"its info.name is {loaded.info.name!r}, its entry point {entry.name!r}")
            check_presets(loaded)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is listed as broken
            return Broken(entry.name, entry.origin, f"{type(error).__name__}: {error}", traceback.format_exc())
        return loaded


def _file_entries(file: Path) -> list[Entry]:
    """The methods defined in a Python file; one broken entry, named for the file, if it cannot be imported."""
    from ial_bench.method import Method

    if not file.is_file():
        raise ConfigError(f"no such plugin file: {file}", "`bench new-method NAME` writes one")
    module_name = f"_ial_bench_plugin_{file.stem}"
    try:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise BenchError(f"{file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is listed as broken
        return [Entry(file.stem, str(file), _raiser(error))]
    classes = [
        value
        for value in vars(module).values()
        # Python 3.10 takes an alias such as list[int] for a class; it has no place of its own in a module.
        if inspect.isclass(value) and get_origin(value) is None and issubclass(value, Method)
        and value.__module__ == module_name and "info" in vars(value)
    ]  # fmt: skip
    if not classes:
        raise ConfigError(f"{file} defines no method", "a method is a subclass of ial_bench.Method with an `info`")
    return [Entry(c.info.name, str(file), lambda c=c: c) for c in classes]  # type: ignore[misc]


def _raiser(error: Exception) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def dataset_cards() -> dict[str, DatasetCard]:
    """The datasets known by name, sorted."""
    return {p.name: p.load() for p in sorted(entry_points(group=DATASETS), key=lambda p: p.name)}
