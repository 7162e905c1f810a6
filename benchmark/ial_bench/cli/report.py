"""`bench report` and `bench plot`: results to look at, as pages for a browser and as pictures for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.analyse import logit_methods
from ial_bench.cli.console import ConsoleReporter
from ial_bench.errors import BenchError, ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.plots.scene import Scene
    from ial_bench.report.selection import Selected

_ALL = "all"
_DEFAULT_FORM = "png"


def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write: new, or of an earlier report. [default: ./report]"),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Name. [default: every dataset with results]")
    ] = None,
    thumbnails: Annotated[
        str, typer.Option(help="Photos shown a dataset, spread evenly over its queries: a number, all or none.")
    ] = "5000",
    limit: Annotated[int | None, typer.Option(help="Show runs with this limit.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve it on this machine alone; thumbnails are made when looked at.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve. [default: any free one]")] = 0,
    results: options.Results = None,
    data_home: options.DataHome = None,
) -> None:
    """Write pages to look at results with.

    Leaderboards, a page a run, a browser of the queries with photos and answers side by side, a map, comparisons. The
    folder opens by a click on index.html and asks nothing of a network.

    Example: bench report --out report --dataset synth-city
    """
    from ial_bench.engine.records import datasets_with_results
    from ial_bench.report.site.build import Options, build

    home = folders.results_home(results)
    known = datasets_with_results(home)
    if not known:
        raise DataError(f"no results in {home}", "`bench run` makes some; --results names another folder")
    if dataset is not None and dataset not in known:
        raise unknown_name("dataset with results", dataset, known, f"results in {home}: {', '.join(known)}")
    most = 0 if serve and thumbnails == "5000" else _number(thumbnails)
    folder = out or Path("report")
    reporter = ConsoleReporter()
    chosen = Options(home, data_home, limit, most)
    sources, problems = build(folder, [dataset] if dataset else known, chosen, reporter)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"wrote {folder / 'index.html'}", err=True)
    if serve:
        from ial_bench.report.site.serve import serve_report

        serve_report(folder, sources, port, lambda url: typer.echo(f"{url} (ctrl-c ends it)"), reporter.log)
    if problems:
        raise typer.Exit(1)


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="latency, ssa-k, distance, train-photos, train-distance, heading, neighbourhood, loss, ablation, "
            "coverage, reliability, map, or all."
        ),
    ],
    methods: options.Answering = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File .png, .svg or .pdf [default: KIND.png]; of all, a folder [default: plots]."),
    ] = None,
    dataset: options.AnsweredDataset = None,
    metric: Annotated[str, typer.Option(help="A mean over queries: SSA-k, SA-k, MRR, ...")] = "SSA-1",
    width: Annotated[
        str | None, typer.Option(help="single or double: columns of a page. [default: what suits the picture]")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="Of all: png, svg or pdf. [default: png]")] = None,
    limit: options.Limit = None,
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
    from ial_bench.plots.kinds import KINDS
    from ial_bench.plots.scene import FORMATS, WIDTHS, Scene, drawing, form_of, save
    from ial_bench.report.selection import Selected

    if kind not in {_ALL, *KINDS}:
        raise unknown_name("picture", kind, [*KINDS, _ALL], f"there are {', '.join(KINDS)}, and {_ALL}")
    if width is not None and width not in WIDTHS:
        raise unknown_name("width", width, WIDTHS, f"there are {' and '.join(WIDTHS)}")
    if form is not None and kind != _ALL:
        raise ConfigError("--format is for `bench plot all`", f"--out {kind}.{form} asks for it")
    options.check_known("format", form, FORMATS)
    one = out or Path(f"{kind}.{_DEFAULT_FORM}")
    if kind != _ALL:
        form_of(one)
    selected = Selected.among(folders.results_home(results), dataset, methods or [], limit, metric)
    scene = Scene(
        selected, bool(methods), metric, None if width is None else WIDTHS[width],
        frozenset(logit_methods(selected, plugin)), _dataset(selected, data_home),
    )  # fmt: skip
    if kind != _ALL:
        with drawing():
            save(KINDS[kind](scene), one)
        _tell_drawn(scene, one)
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
        _tell_drawn(scene, file)


def _tell_drawn(scene: Scene, file: Path) -> None:
    typer.echo(str(file))
    for note in dict.fromkeys(scene.notes):
        typer.echo(f"note: {file.stem}: {note}", err=True)


def _dataset(selected: Selected, home: Path | None) -> Dataset | None:
    """The dataset that was run on, where it is here; only the map uses it, and can do without."""
    from ial_bench.datasets.known import open_dataset

    try:
        found = open_dataset(selected.dataset, home)
    except BenchError:
        return None
    return found if found.digest == selected.groups[0].runs[0].dataset.digest else None


def _number(text: str) -> int | None:
    """The number of thumbnails; None for all.

    Raises:
        ConfigError: neither a number nor a word for one.
    """
    if text in {"all", "none"}:
        return None if text == "all" else 0
    if not text.isdigit() or not text.isascii():
        raise ConfigError(f"--thumbnails {text!r} is no number", "a number, all or none")
    return int(text)
