"""Settings as text and as values, and what a configuration is nearest to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ial_bench import ImageBatch, Method, MethodConfig, MethodInfo, TopK
from ial_bench.errors import UnknownNameError
from ial_bench.settings import as_text, changes_text, config_from_text, configured, nearest_preset, preset_values, shown


class Knobs(Method):
    info = MethodInfo(name="knobs", title="Knobs", family="test")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"a": 10, "b": "far", "c": (7, 8)},
        "large": {"a": 20, "b": "far", "c": (7, 8)},
    }

    class Config(MethodConfig):
        a: int = 1
        b: str = "near"
        c: tuple[int, ...] = (1, 2)
        d: float | None = None
        backbone: str = "openclip:x/y"

    def predict(self, images: ImageBatch, k: int) -> TopK:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("far", "far"), (1, "1"), (2.4e-5, "2.4e-05"), (None, "null"), (True, "true"), ([1, 2], "[1, 2]"),
        (("address", "caption"), "address+caption"), (["a street of {address}."], '["a street of {address}."]'),
        ([], "[]"),
    ],
)  # fmt: skip
def test_values_are_shown_in_short(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", ["far", "5", "null", '"quoted"', "[1,2]", "a+b", ""])
def test_a_text_is_the_same_text_again_when_given_as_a_setting(value: str) -> None:
    config: Any = config_from_text(Knobs, {"b": as_text(value)})
    assert config.b == value


@pytest.mark.parametrize("value", ["5", "null", "[1,2]", "true"])
def test_a_value_is_never_read_as_text(value: str) -> None:
    config: Any = configured(Knobs, {"b": value, "c": (3, 4), "d": None})
    assert (config.b, config.c, config.d) == (value, (3, 4), None)


@pytest.mark.parametrize(
    ("settings", "preset", "changed", "text"),
    [
        ({}, None, (), ""),
        ({"a": "2", "backbone": "timm:x"}, None, ("a", "backbone"), "a=2"),
        ({"a": "10", "b": "far", "c": "[7,8]"}, "paper", (), "preset paper"),
        ({"a": "10", "b": "far", "c": "[7,8]", "d": "0.5"}, "paper", ("d",), "preset paper, d=0.5"),
        ({"a": "11", "b": "far", "c": "[7,8]"}, "paper", ("a",), "preset paper, a=11"),  # the first of two as near
        ({"a": "20", "b": "far", "c": "[7]"}, "large", ("c",), "preset large, c=[7]"),
        ({"a": "10"}, None, ("a",), "a=10"),
    ],
)
def test_a_configuration_is_told_by_what_it_is_nearest_to(
    settings: dict[str, str], preset: str | None, changed: tuple[str, ...], text: str
) -> None:
    config = config_from_text(Knobs, settings)
    assert nearest_preset(Knobs, config) == (preset, changed)
    assert changes_text(Knobs, config) == text


def test_settings_without_default_are_no_change() -> None:
    class Needs(Knobs):
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

        class Config(MethodConfig):
            a: int

    assert nearest_preset(Needs, Needs.Config(a=3)) == (None, ())


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
        preset_values(Knobs, "papers")
