"""`bench plot`: pictures of results for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench.cli import options
from ial_bench.cli.analyse import DatasetName, Limit, Methods, logit_methods

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.plots.scene import Scene
    from ial_bench.report.selection import Selected

_ALL = "all"
_DEFAULT_FORM = "png"


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="latency, ssa-k, distance, train-photos, train-distance, heading, neighbourhood, loss, ablation, "
            "coverage, reliability, map, or all."
        ),
    ],
    methods: Methods = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File .png, .svg or .pdf [default: KIND.png]; of all, a folder [default: plots]."),
    ] = None,
    dataset: DatasetName = None,
    metric: Annotated[str, typer.Option(help="A mean over queries: SSA-k, SA-k, MRR, ...")] = "SSA-1",
    width: Annotated[
        str | None, typer.Option(help="single or double: columns of a page. [default: what suits the picture]")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="Of all: png, svg or pdf. [default: png]")] = None,
    limit: Limit = None,
    plugin: options.Plugins = None,
    results: options.Results = None,
    data_home: options.DataHome = None,
) -> None:
    """Draw results.

    Sizes are those of a printed column, text is 8 points and stays text, colours are told apart by the colour-blind and
    markers in grey. The same results give the same bytes in SVG and PDF. `all` draws what the results allow and says
    what it leaves out, and why.

    Example: bench plot latency --dataset pitts-ial --out latency.pdf
    """
    from ial_bench.errors import BenchError, ConfigError, unknown_name
    from ial_bench.folders import results_home
    from ial_bench.plots.kinds import KINDS
    from ial_bench.plots.scene import FORMATS, WIDTHS, Scene, drawing, form_of, save
    from ial_bench.report.selection import Selected

    if kind not in {_ALL, *KINDS}:
        raise unknown_name("picture", kind, [*KINDS, _ALL], f"there are {', '.join(KINDS)}, and {_ALL}")
    if width is not None and width not in WIDTHS:
        raise unknown_name("width", width, WIDTHS, f"there are {' and '.join(WIDTHS)}")
    if form is not None and kind != _ALL:
        raise ConfigError("--format is for `bench plot all`", f"--out {kind}.{form} asks for it")
    if form is not None and form not in FORMATS:
        raise unknown_name("format", form, FORMATS, f"there are {', '.join(FORMATS)}")
    one = out or Path(f"{kind}.{_DEFAULT_FORM}")
    if kind != _ALL:
        form_of(one)
    selected = Selected.among(results_home(results), dataset, methods or [], limit, metric)
    scene = Scene(
        selected, bool(methods), metric, None if width is None else WIDTHS[width],
        frozenset(logit_methods(selected, plugin)), _dataset(selected, data_home),
    )  # fmt: skip
    if kind != _ALL:
        with drawing():
            save(KINDS[kind](scene), one)
        _told(scene, one)
        return
    folder = out or Path("plots")
    if folder.suffix.removeprefix(".") in FORMATS:
        raise ConfigError(f"--out {folder} is a file, and `bench plot all` draws many", "give a folder")
    for name, draw in KINDS.items():
        file = folder / f"{name}.{form or _DEFAULT_FORM}"
        scene.notes.clear()
        try:
            with drawing():
                save(draw(scene), file)
        except ConfigError:
            raise
        except BenchError as error:
            older = f"; {file} is an earlier picture" if file.exists() else ""
            typer.echo(f"left out: {name}: {error.problem}{older}", err=True)
            continue
        _told(scene, file)


def _told(scene: Scene, file: Path) -> None:
    typer.echo(str(file))
    for note in dict.fromkeys(scene.notes):
        typer.echo(f"note: {file.stem}: {note}", err=True)


def _dataset(selected: Selected, home: Path | None) -> Dataset | None:
    """The dataset that was run on, where it is at hand: only the map asks for it, and does without."""
    from ial_bench.datasets.known import open_dataset
    from ial_bench.errors import BenchError

    try:
        found = open_dataset(selected.dataset, home)
    except BenchError:
        return None
    return found if found.digest == selected.groups[0].runs[0].dataset.digest else None
