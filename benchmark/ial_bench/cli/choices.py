"""Which configurations of which methods the command line asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ial_bench.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from ial_bench.engine.plan import ConfiguredMethod
    from ial_bench.registry import Registry

Values = dict[str, Any]
"""Values by setting."""

_OPENING, _CLOSING = "[{", "]}"


@dataclass(frozen=True)
class Wanted:
    """The options that choose methods and their settings, as they are typed.

    Attributes:
        methods: names, comma-separated, or ``all``.
        presets: ``NAME`` or ``METHOD=NAME``.
        config: TOML file with a ``[METHOD]`` table a method.
        backbone: encoder of every method that uses one.
        settings: ``METHOD.KEY=VALUE``; ``KEY=VALUE`` where one method is chosen.
        grids: ``METHOD.KEY=VALUE,VALUE,...``, likewise.
    """

    methods: str
    presets: Sequence[str] = ()
    config: Path | None = None
    backbone: str | None = None
    settings: Sequence[str] = ()
    grids: Sequence[str] = ()


def choose(
    registry: Registry,
    wanted: Wanted,
    default_backbone: str | None = None,
    log: Callable[[str], None] | None = None,
) -> list[ConfiguredMethod]:
    """The chosen methods with their configurations, one for each distinct cell of their grids.

    Args:
        registry: where methods come from.
        wanted: the options.
        default_backbone: encoder where nothing names one; the dataset's own.
        log: gets a line that names the methods without a preset.

    Raises:
        UnknownNameError: no such method or preset.
        ConfigError: an unknown setting, or a value that does not fit.
    """
    from ial_bench.encoders.spec import EncoderSpec
    from ial_bench.engine.plan import ConfiguredMethod
    from ial_bench.settings import BACKBONE, configured

    names = registry.select(wanted.methods)
    given = settings_of(registry, wanted, log)
    grids = _grids(registry, names, wanted)
    choices = []
    for name in names:
        cls = registry.get(name)
        own = given[name]
        if default_backbone is not None and BACKBONE in cls.Config.model_fields:
            own.setdefault(BACKBONE, default_backbone)
        grid = grids.get(name, {})
        configs = []
        for cell in product(*grid.values()):
            config = configured(cls, {**own, **dict(zip(grid, cell, strict=True))})
            if config not in configs:  # cells written differently may mean the same
                configs.append(config)
        for config in configs:
            if (spec := getattr(config, BACKBONE, None)) is not None:
                EncoderSpec.parse(str(spec))
        choices += [ConfiguredMethod(cls, config, registry.origin(name), registry.source(name)) for config in configs]
    return choices


def settings_of(registry: Registry, wanted: Wanted, log: Callable[[str], None] | None = None) -> dict[str, Values]:
    """The settings given to each chosen method; later ones win: preset, file, --backbone, --set. Grids are apart."""
    from ial_bench.encoders.spec import EncoderSpec, long_name
    from ial_bench.settings import BACKBONE, preset_values, value_of

    backbone = None if wanted.backbone is None else long_name(wanted.backbone)
    if backbone is not None:
        EncoderSpec.parse(backbone)
    names = registry.select(wanted.methods)
    file = _from_file(wanted.config) if wanted.config else {}
    single: dict[str, Values] = {}
    for text in wanted.settings:
        method, key, value = _parts("--set", text, names)
        single.setdefault(method, {})[key] = value_of(value)
    for method in (*file, *single):
        registry.look(method)  # refuses an unknown name, also of a method that is not chosen
    presets = _presets(registry, names, wanted.presets, log)
    found = {}
    for name in names:
        cls = registry.get(name)
        values = preset_values(cls, presets[name]) if name in presets else {}
        values |= file.get(name, {})
        if backbone is not None and BACKBONE in cls.Config.model_fields:
            values[BACKBONE] = backbone
        found[name] = values | single.get(name, {})
    return found


def split_values(text: str) -> list[str]:
    """The values of a grid: `text` cut at commas that stand outside brackets, braces and double quotes.

    Raises:
        ValueError: a bracket or quote is not closed, or a value is empty.
    """
    values, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"' and text[i - 1 : i] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (c in _OPENING) - (c in _CLOSING)
            if c == "," and depth == 0:
                values.append(text[start:i].strip())
                start = i + 1
    values.append(text[start:].strip())
    if quoted or depth:
        raise ValueError("a bracket or quote is not closed")
    if not all(values):
        raise ValueError("a value is empty")
    return values


def _parts(option: str, text: str, names: Sequence[str]) -> tuple[str, str, str]:
    """Method, key and value of an option; the method may be left out where one is chosen."""
    left, equals, value = text.partition("=")
    method, dot, key = left.partition(".")
    if not dot and len(names) == 1:
        method, key = names[0], left
    if not (equals and method and key):
        values = "VALUE,VALUE,..." if option == "--grid" else "VALUE"
        raise ConfigError(
            f"{option} {text!r} is not METHOD.KEY={values}",
            f"for instance {option} linear-probe.c={'0.1,1,10' if option == '--grid' else '0.316'}; "
            "the method may be left out where one is chosen",
        )
    return method, key, value


def _grids(registry: Registry, names: Sequence[str], wanted: Wanted) -> dict[str, dict[str, list[Any]]]:
    """The values to try, by method and setting."""
    from ial_bench.settings import value_of

    fixed = {_parts("--set", text, names)[:2] for text in wanted.settings}
    grids: dict[str, dict[str, list[Any]]] = {}
    for text in wanted.grids:
        method, key, values = _parts("--grid", text, names)
        registry.look(method)
        if method not in names:
            raise ConfigError(f"--grid {text!r}: {method} is not among the methods to run", "add it to --methods")
        own = grids.setdefault(method, {})
        if key in own or (method, key) in fixed:
            raise ConfigError(f"{method}.{key} is given twice", "name all its values in one --grid, and in no --set")
        try:
            own[key] = [value_of(value) for value in split_values(values)]
        except ValueError as error:
            raise ConfigError(
                f"--grid {text!r}: {error}", "values stand between commas; those with commas are JSON, as in [1,2],[3]"
            ) from error
    return grids


def _presets(
    registry: Registry, names: Sequence[str], wanted: Sequence[str], log: Callable[[str], None] | None
) -> dict[str, str]:
    """The preset of each method that has one: the last that is named, and METHOD=NAME before NAME."""
    having: Mapping[str, Sequence[str]] = {n: tuple(registry.get(n).presets) for n in names} if wanted else {}
    for_all: dict[str, str] = {}
    for_one: dict[str, str] = {}
    for text in wanted:
        method, equals, preset = text.rpartition("=")
        if equals:
            registry.look(method)
            if method not in having:
                raise ConfigError(f"--preset {text!r}: {method} is not among the methods to run", "add it to --methods")
            if preset not in having[method]:
                raise unknown_name(f"preset of {method}", preset, having[method], f"`bench show {method}` lists them")
            for_one[method] = preset
            continue
        takers = [n for n in names if preset in having[n]]
        if not takers:
            known = {p for presets in having.values() for p in presets}
            raise unknown_name("preset", preset, sorted(known), "`bench show METHOD` lists a method's presets")
        for_all |= dict.fromkeys(takers, preset)
        if log is not None and (others := [n for n in names if n not in takers]):
            log(f"preset {preset}: none of that name for {', '.join(others)}, whose defaults stay")
    return for_all | for_one


def _from_file(path: Path) -> dict[str, Values]:
    from ial_bench.files import read_toml

    try:
        tables = read_toml(path)
    except DataError as error:
        raise ConfigError(error.problem, "write a [METHOD] table a method") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} stands outside a [METHOD] table", "write a [METHOD] table a method")
    return tables
