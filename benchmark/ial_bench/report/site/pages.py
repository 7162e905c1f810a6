"""The report's pages: templates filled in, with everything escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ial_bench import __version__
from ial_bench.errors import ConfigError
from ial_bench.escape import printable, short

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""What a browser lets the pages use: files of their own folder. Nothing inline runs, and nothing is fetched."""
_PACKAGE = "ial_bench.report.site"
_MOST_IN_A_VALUE = 2_000


def render(template: str, **values: Any) -> str:
    """A page. All texts among `values` are escaped and made printable.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    # `frame-ancestors` counts in a header alone; in a page browsers report it as an error.
    policy = POLICY.rpartition("; ")[0]
    return _environment().get_template(f"{template}.html.j2").render(version=__version__, policy=policy, **values)


def check_installed() -> None:
    """Fail before any work is done.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    _environment()


def assets() -> dict[str, bytes]:
    """Style sheets and scripts of the pages, by name."""
    folder = files(_PACKAGE).joinpath("assets")
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.is_file()}


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError("the report needs jinja2", "pip install 'ial-bench[report]'") from error
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, finalize=_finalize,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "short": short, "value": value_text, "percent": percent, "count": lambda n: f"{n:,}",
    }  # fmt: skip
    return environment


def _finalize(value: Any) -> Any:
    """Every text that is shown, except what the templates themselves made."""
    return printable(value) if type(value) is str else value


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent, without the sign; empty for None."""
    return "" if fraction is None else f"{100 * fraction:.{digits}f}"


def value_text(value: Any) -> str:
    """A JSON value as a person reads it, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, _MOST_IN_A_VALUE)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Keys and values of nested objects, keys joined by dots."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value and prefix.count(".") < 4:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
