"""`bench new-method`: a working plugin in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method: lower case, words joined by -.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. [default: NAME.py, - as _]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a working method, to be changed.

    Example: bench new-method my-method
    """
    from importlib.resources import files

    from ial_bench.errors import ConfigError
    from ial_bench.files import checked_name, write_text
    from ial_bench.registry import Registry

    words = checked_name(name, "method").split("-")
    if not all(w.isalnum() and w == w.lower() for w in words) or not name[0].isalpha():
        raise ConfigError(f"{name!r} cannot be a method's name", "use lower-case words joined by -, such as my-method")
    if name in Registry().names:
        raise ConfigError(f"there is a method {name!r} already", "choose another name")
    path = out or Path(f"{name.replace('-', '_')}.py")
    template = files("ial_bench").joinpath("method_template.py.txt").read_text(encoding="utf-8")
    text = template.replace("NAME", name).replace("TITLE", " ".join(words).capitalize())
    text = text.replace("CLASS", "".join(w.capitalize() for w in words))
    unchanged = path.is_file() and path.read_bytes() == text.encode()  # a call that was killed had written it
    if path.exists() and not unchanged and not force:
        raise ConfigError(f"{path} is there already", "give --force to replace it, or another --out")
    write_text(path, text)
    typer.echo(f"wrote {path}")
    typer.echo(
        f"next: bench check {name} --plugin {path}; bench run --methods {name} --plugin {path} --dataset DATASET"
    )
