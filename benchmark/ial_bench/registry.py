"""Finds methods and datasets: installed entry points, and single files given with ``--plugin``.

Nothing is imported until it is asked for. A plugin that fails to import stays listed, with its reason.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from ial_bench.errors import ConfigError, UnknownNameError, unknown_name
from ial_bench.plugin_source import distribution_digest, error_line, file_digest, import_file

if TYPE_CHECKING:
    from ial_bench.method import Method

METHODS = "ial_bench.methods"
_OWN = "ial-bench"


@dataclass(frozen=True)
class Entry:
    """A method that is known by name, not yet imported.

    Attributes:
        name: the name to run it by.
        origin: the distribution or file it comes from.
        load: imports it.
        source: digest of its source, None for what comes with ial-bench.
        file: the plugin file that it comes from, None for an installed one.
    """

    name: str
    origin: str
    load: Callable[[], Any]
    source: Callable[[], str | None]
    file: Path | None = None


@dataclass(frozen=True)
class Broken:
    """A method that cannot be imported: the reason with its place on one line, and the whole traceback."""

    name: str
    origin: str
    reason: str
    traceback: str


class Registry:
    """The methods that can be run.

    A file given on the command line takes precedence over all that is installed. Among installed methods a built-in
    name wins over a plugin's. Of two plugins, or two files, with one name the first wins. `notes` says which method
    hides which, and what cannot be imported.

    Args:
        plugins: Python files given on the command line.

    Raises:
        ConfigError: a file is not there, or defines no method.
    """

    def __init__(self, plugins: Iterable[Path] = ()) -> None:
        self.notes: list[str] = []
        self._entries: dict[str, Entry] = {}
        self._loaded: dict[str, type[Method] | Broken] = {}
        self._sources: dict[str, str | None] = {}
        self._unread: list[Broken] = []
        for file in plugins:
            for entry in _file_entries(file):
                self._add(entry)
        found = [(p.dist.name if p.dist else "?", p) for p in entry_points(group=METHODS)]
        for origin, point in sorted(found, key=lambda f: f[0] != _OWN):
            source = _no_source if origin == _OWN else partial(distribution_digest, point)
            self._add(Entry(point.name, origin, point.load, source))

    def _add(self, entry: Entry) -> None:
        earlier = self._entries.setdefault(entry.name, entry)
        if earlier is entry:
            self._note_if_broken(entry)
        elif earlier.file is None or entry.file is not None:
            self._note(f"method {entry.name!r} of {entry.origin} is hidden by the one of {earlier.origin}")
        elif not isinstance(earlier.load, _Unread):
            self._note(f"method {entry.name!r} of {earlier.origin} takes the place of the one of {entry.origin}")

    def _note_if_broken(self, entry: Entry) -> None:
        """Note a file that is broken; it is read already, while nothing that is installed is imported unasked."""
        if entry.file is None or not isinstance(broken := self.look(entry.name), Broken):
            return
        if isinstance(entry.load, _Unread):
            self._unread.append(broken)
            self._note(f"{entry.origin} cannot be imported: {broken.reason}")
        else:
            self._note(f"method {entry.name!r} of {entry.origin} is broken: {broken.reason}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @property
    def names(self) -> list[str]:
        """All names, sorted, broken ones among them."""
        return sorted(self._entries)

    def origin(self, name: str) -> str:
        """The distribution or file a method comes from."""
        return self._entries[name].origin

    def source(self, name: str) -> str | None:
        """Digest of a plugin's source as it is now, without importing it; None for what comes with ial-bench.

        The latter has a version, which follows its code.

        Raises:
            UnknownNameError: nothing has that name.
        """
        if name not in self._sources:
            self._sources[name] = self._entry(name).source()
        return self._sources[name]

    def look(self, name: str) -> type[Method] | Broken:
        """The method's class, or why it cannot be imported.

        Raises:
            UnknownNameError: nothing has that name.
            ConfigError: nothing has that name, and a plugin file that may define it cannot be imported.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(self._entry(name))
        return self._loaded[name]

    def get(self, name: str) -> type[Method]:
        """The method's class.

        Raises:
            UnknownNameError: nothing has that name.
            ConfigError: the plugin is broken.
        """
        found = self.look(name)
        if isinstance(found, Broken):
            raise _broken(f"method {name!r} of {found.origin} is broken", found, self._entries[name])
        return found

    def select(self, text: str) -> list[str]:
        """Names from ``a,b,c`` or ``all``: all that are not broken; `notes` names the broken ones that are installed.

        Raises:
            UnknownNameError: nothing has one of the names.
            ConfigError: a named one is broken; ``all`` names those of files given on the command line.
        """
        if text == "all":
            return [n for n in self.names if not self._left_out(n)]
        names = list(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
        if not names:
            raise UnknownNameError("no method named", "give --methods NAME,NAME or --methods all")
        for name in names:
            self.get(name)
        return names

    def _left_out(self, name: str) -> bool:
        found, entry = self.look(name), self._entries[name]
        if not isinstance(found, Broken):
            return False
        if entry.file is not None:
            raise _broken(f"method {name!r} of {found.origin} is broken", found, entry)
        self._note(f"method {name!r} of {found.origin} is broken and left out: {found.reason}")
        return True

    def _entry(self, name: str) -> Entry:
        if name in self._entries:
            return self._entries[name]
        known = [n for n, e in self._entries.items() if not isinstance(e.load, _Unread)]
        error = unknown_name("method", name, known, "`bench list methods` shows all")
        if not self._unread:
            raise error
        broken = self._unread[0]
        problem = f"{error.problem}; {broken.origin}, whose methods are not known, cannot be imported"
        raise _broken(problem, broken, self._entries[broken.name])

    @staticmethod
    def _load(entry: Entry) -> type[Method] | Broken:
        from ial_bench.method import Method, MethodInfo
        from ial_bench.settings import check_presets

        try:
            loaded = entry.load()
            if not (inspect.isclass(loaded) and issubclass(loaded, Method)):
                raise TypeError(f"{entry.name} is a {type(loaded).__name__}, not a subclass of ial_bench.Method")
            if inspect.isabstract(loaded):
                missing = ", ".join(sorted(loaded.__abstractmethods__))
                raise TypeError(f"{loaded.__name__} does not implement {missing}")
            if not isinstance(loaded.info, MethodInfo):
                raise TypeError(f"its info is a {type(loaded.info).__name__}, not an ial_bench.MethodInfo")
            if loaded.info.name != entry.name:
                raise TypeError(f"its info.name is {loaded.info.name!r}, its entry point {entry.name!r}")
            check_presets(loaded)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything; it is listed as broken
            return Broken(entry.name, entry.origin, error_line(error, entry.file), traceback.format_exc())
        return loaded


def _broken(problem: str, found: Broken, entry: Entry) -> ConfigError:
    mend = "mend or uninstall the plugin"
    option = ""
    if entry.file is not None:
        mend, option = "mend the file", f" --plugin {entry.file}"
    return ConfigError(f"{problem}: {found.reason}", f"`bench show {found.name}{option}` prints its traceback; {mend}")


def _file_entries(file: Path) -> list[Entry]:
    """The methods defined in a Python file; one broken entry, named for the file, if it cannot be imported."""
    from ial_bench.method import Method

    if not file.is_file():
        raise ConfigError(f"no such plugin file: {file}", "`bench new-method NAME` writes one")
    module_name = f"_ial_bench_plugin_{file.stem}"
    source = partial(file_digest, file)
    try:
        module = import_file(file, module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything; it is listed as broken
        return [Entry(file.stem.replace("_", "-"), str(file), _Unread(error), source, file)]
    classes = [
        value
        for value in vars(module).values()
        # Python 3.10 takes an alias such as list[int] for a class; it has no place of its own in a module.
        if inspect.isclass(value) and get_origin(value) is None and issubclass(value, Method)
        and value.__module__ == module_name and "info" in vars(value)
    ]  # fmt: skip
    if not classes:
        raise ConfigError(f"{file} defines no method", "a method is a subclass of ial_bench.Method with an `info`")
    return [Entry(_name(c), str(file), lambda c=c: c, source, file) for c in classes]  # type: ignore[misc]


def _name(method: type[Method]) -> str:
    """The method's name; the class's where a broken `info` has none."""
    return str(getattr(method.info, "name", method.__name__))


@dataclass(frozen=True)
class _Unread:
    """Loads a method of a file that cannot be imported: raises its error again."""

    error: BaseException

    def __call__(self) -> Any:
        """Raise it."""
        raise self.error


def _no_source() -> None:
    """A method that comes with ial-bench has a version in place of a digest."""
