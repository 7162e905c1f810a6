"""Settings of methods: how values are written, presets, and how a configuration differs from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ial_bench.errors import BenchError, ConfigError, no_exit, unknown_name
from ial_bench.method import Method, MethodConfig

BACKBONE = "backbone"
"""The setting that has an option, and a column of the table, of its own."""


def shown(value: Any) -> str:
    """A setting's value for people: words as they are, lists of words joined by ``+``, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, str) and v.isidentifier() for v in value):
        return "+".join(value)
    return json.dumps(value, ensure_ascii=False)


def as_text(value: Any) -> str:
    """A setting's value so that ``--set KEY=`` followed by it gives the value again."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except json.JSONDecodeError:
            return value
    return json.dumps(value, ensure_ascii=False)


def preset_values(method: type[Method], name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        UnknownNameError: the method has no such preset.
    """
    if name not in method.presets:
        known = ", ".join(method.presets) or "none"
        raise unknown_name(f"preset of {method.info.name}", name, method.presets, f"its presets: {known}")
    return dict(method.presets[name])


def nearest_preset(method: type[Method], config: MethodConfig) -> tuple[str | None, tuple[str, ...]]:
    """The preset from which `config` differs in the fewest settings, and these settings, in their order.

    None stands for the defaults, which win a tie. The answer depends on the settings alone, not on how they were
    asked for, so that equal runs are described alike.
    """
    own = config.model_dump(mode="json")
    needed = {key: own[key] for key, field in method.Config.model_fields.items() if field.is_required()}
    bases: list[tuple[str | None, Mapping[str, Any]]] = [(None, {}), *method.presets.items()]
    found: list[tuple[str | None, tuple[str, ...]]] = []
    for name, values in bases:
        base = configured(method, {**needed, **values}).model_dump(mode="json")
        # A setting that exists only under certain others is left out of the dump where it has no meaning: it then
        # has its default.
        defaults = {key: method.Config.model_fields[key].get_default() for key in own.keys() - base.keys()}
        base = {**base, **defaults}
        found.append((name, tuple(key for key, value in own.items() if base[key] != value)))
    return min(found, key=lambda f: len(f[1]))


def check_presets(method: type[Method]) -> None:
    """Check that every preset is made of settings that the method has.

    Raises:
        ConfigError: one is not; names preset and setting.
    """
    for name, values in method.presets.items():
        try:
            configured(method, values)
        except BenchError as error:
            raise ConfigError(f"preset {name!r}: {error.problem}", error.fix) from error


def changes_text(method: type[Method], config: MethodConfig) -> str:
    """Settings that differ from the defaults, such as ``preset paper, epochs=50``, without the encoder."""
    preset, changed = nearest_preset(method, config)
    own = config.model_dump(mode="json")
    parts = [f"preset {preset}"] if preset else []
    return ", ".join([*parts, *(f"{key}={shown(own[key])}" for key in changed if key != BACKBONE)])


def configured(method: type[Method], settings: Mapping[str, Any]) -> MethodConfig:
    """A method's configuration from values by setting; settings that are not given have their defaults.

    Raises:
        ConfigError: an unknown setting (with "did you mean") or a value that does not fit.
    """
    fields, lists = method.Config.model_fields, f"`bench show {method.info.name}` lists its settings"
    for key in settings:
        if key not in fields:
            error = unknown_name(f"setting of {method.info.name}", key, fields, lists)
            raise ConfigError(error.problem, error.fix)
    try:
        with no_exit(f"the Config of {method.info.name}"):
            return method.Config(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ConfigError(
            f"setting {method.info.name}.{where}: {first['msg'].lower()} (given: {first.get('input')!r})",
            lists,
        ) from error


def config_from_text(method: type[Method], settings: Mapping[str, str]) -> MethodConfig:
    """A method's configuration from values as they are typed: see `configured` and `value_of`."""
    return configured(method, {key: value_of(text) for key, text in settings.items()})


def value_of(text: str) -> Any:
    """The value of a setting as it is typed: JSON where the text is JSON, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
