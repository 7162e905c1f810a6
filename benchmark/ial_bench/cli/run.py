"""`bench run`: methods on a dataset, then the leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, print_json
from ial_bench.errors import ConfigError
from ial_bench.machine import default_workers, resolve_device

if TYPE_CHECKING:
    from ial_bench.cli.costs import TimeLeft
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.engine.plan import EngineOptions, Planned
    from ial_bench.engine.record import RunRecord
    from ial_bench.engine.run import Engine
    from ial_bench.progress import Reporter
    from ial_bench.registry import Registry

DEFAULT_DATASET = "synth-city"
"""The dataset where none is named: a city that is drawn on the spot."""
_SKIPPED = 3
"""Exit code of --strict."""
_WHAT_IT_WAS = (
    f"{DEFAULT_DATASET} is a drawn city, a control whose truth is known; it says nothing about real ones. For those: "
    "`bench show sf-ial-large` tells where to get photos, `bench data import released` takes them in, "
    "`bench run --dataset sf-ial-large` runs on them"
)


def _no_batch_size(value: int | None) -> int | None:
    if value is not None:
        note = "note: --batch-size has no effect: answers hung on it, and photos are encoded in batches of one size now"
        print(note, file=sys.stderr)
    return value


def run(
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Names or folders, comma-separated; all: every one in the data home.")
    ] = DEFAULT_DATASET,
    methods: options.MethodNames = "all",
    seeds: Annotated[str, typer.Option(help="Seeds for methods with randomness: 0 1 2")] = "0",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="METHOD.KEY=VALUE; may be repeated. `bench show METHOD` lists keys."),
    ] = None,
    preset: options.Presets = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", help="METHOD.KEY=V1,V2,...: a run for each value; repeated, for each combination."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with a [METHOD] table of settings a method.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Encoder of every method that uses one: openclip:MODEL/WEIGHTS, timm:MODEL[+POOLING][/FILE], "
            "vpr:NAME/FILE, or lite0, whose weights pip brings."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Photos per split at most: a quick look, not a result.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Candidates stored per query.")] = 10,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run again what is done.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and the time, memory and disk that it takes here.")
    ] = False,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Measure latency.")] = True,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Arithmetic that photos are encoded with for frozen encoders: fp32, bf16 or fp16.")
    ] = "fp32",
    batch_size: Annotated[  # noqa: ARG001 - only scripts for earlier releases give it; see its callback
        int | None, typer.Option(hidden=True, callback=_no_batch_size)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Threads, beside a GPU processes, that decode photos. [default: half the cores]"),
    ] = None,
    chunk: Annotated[int, typer.Option(min=1, help="Photos per completion mark: what a kill can cost.")] = 1024,
    checkpoint_steps: Annotated[
        int, typer.Option(min=1, help="Training steps between checkpoints: what a kill can cost.")
    ] = 200,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 where a method asked for by its name was skipped.")
    ] = False,
    plugin: options.Plugins = None,
    results: options.Results = None,
    cache: options.Cache = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Run methods on datasets and print the leaderboards.

    What is done already is not run again; what was interrupted resumes. Without --dataset, on a drawn city. A method
    that cannot run here is skipped, and the reason stands below the table. Exit codes: 0 done, 1 a run failed, 2 usage,
    3 with --strict: none failed, but a method asked for by its name was skipped.

    Example: bench run --methods all --dataset sf-ial-large --seeds 0 1 2
    """
    from ial_bench.cli.choices import Wanted, choose
    from ial_bench.cli.costs import TimeLeft, bill_of, show_bill, tell_shortage
    from ial_bench.encoders.encoder import precision_of
    from ial_bench.engine import provenance
    from ial_bench.engine.distributed import Team, own_device
    from ial_bench.engine.features import FeatureStore
    from ial_bench.engine.plan import EngineOptions, plan
    from ial_bench.engine.record import RunRecord
    from ial_bench.engine.records import records
    from ial_bench.engine.run import Engine
    from ial_bench.progress import NoReport
    from ial_bench.registry import Registry

    device = own_device(resolve_device(device))
    team = Team(device)
    report: Reporter = ConsoleReporter() if team.main else NoReport()
    registry = Registry(plugin or ())
    wanted_seeds = _seeds(seeds)
    wanted = Wanted(methods, preset or (), config, backbone, settings or (), grid or ())
    choose(registry, wanted, log=report.log)  # wrong names are refused before any work is done
    if team.main:
        options.tell_notes(registry)
    engine_options = EngineOptions(
        folders.results_home(results), folders.cache_home(cache), device,
        workers=default_workers() if workers is None else workers, k=k, limit=limit, timing=timing, rerun=rerun,
        chunk_rows=chunk, checkpoint_steps=checkpoint_steps, precision=precision_of(precision),
    )  # fmt: skip
    store = FeatureStore(
        engine_options.cache, engine_options.device, engine_options.batch_size, engine_options.workers, report, chunk,
        engine_options.precision,
    )  # fmt: skip
    if not team.main:
        team.follow(registry, engine_options, store)
        return
    datasets = [open_or_make(name, data_home, report) for name in _dataset_names(dataset, data_home)]
    chosen = ((data, choose(registry, wanted, data.description.backbone or None)) for data in datasets)
    plans = [(data, plan(data, c, wanted_seeds, engine_options, store, report)) for data, c in chosen]
    stored = [record for _, record in records(engine_options.results) if isinstance(record, RunRecord)]
    bill = bill_of(plans, engine_options, store, report, stored, times=dry_run)
    if dry_run:
        show_bill(bill, as_json)
        team.dismiss()
        return
    tell_shortage(bill, engine_options.cache, report)
    left = TimeLeft(
        [p for _, todo in plans for p in todo], stored, provenance.hardware_digest(provenance.hardware(device))
    )
    engines = [(Engine(data, engine_options, store, report, team), runs) for data, runs in plans]
    outcomes = [r for engine, runs in engines for r in _execute(engine, runs, left)]
    team.dismiss()
    skipped = [] if methods == "all" else [r for r in outcomes if r.status == "skipped"]
    if as_json:
        print_json([r.model_dump(mode="json") for r in outcomes])
    else:
        _print_leaderboards(datasets, engine_options, registry, skipped)
    sys.stdout.flush()  # so that the table comes first where both go to one file
    for note in (_WHAT_IT_WAS if dataset == DEFAULT_DATASET else "", _packaged_instead(plans)):
        if note:
            report.log(note)
    failed = any(r.status == "failed" for r in outcomes)
    if failed or (strict and skipped):
        raise typer.Exit(1 if failed else _SKIPPED)


def open_or_make(name: str, home: Path | None, report: Reporter) -> Dataset:
    """The dataset called `name`, made first if it is missing and its card can make it."""
    from ial_bench.datasets.known import dataset_cards, installed, open_dataset

    here = "/" in name or any(f.name == name for f in installed(home))
    card = None if here else dataset_cards().get(name)
    if card is not None and card.make is not None:
        card.make(folders.data_home(home) / name, report)
    return open_dataset(name, home)


def _dataset_names(text: str, home: Path | None) -> list[str]:
    from ial_bench.datasets.known import installed

    names = [f.name for f in installed(home)] if text == "all" else options.listed(text)
    if not names:
        raise ConfigError("no dataset named", "`bench list datasets` shows what there is")
    return names


def _execute(engine: Engine, todo: list[Planned], left: TimeLeft) -> list[RunRecord]:
    """Run what is not done; returns the records of all, in the plan's order."""
    from ial_bench.settings import changes_text

    data, report = engine.dataset, engine.report
    outcomes: list[RunRecord] = []
    for number, planned in enumerate(todo, 1):
        if planned.done is None:
            spec, changes = planned.spec, changes_text(planned.method, planned.config)
            about = ", ".join(t for t in (changes, f"seed {spec.seed}", f"run {spec.run_id}") if t)
            report.log(f"[{number}/{len(todo)}] {data.name}: {planned.method.info.name} ({about})")
        record = engine.execute(planned) if planned.done is None else engine.adopt(planned)
        if record.status != "done":
            report.log(f"{record.status}: {record.reason}")
        if planned.state == "run" and (line := left.ended(planned.spec, record)):
            report.log(line)
        outcomes.append(record)
    _summarise(report, data.name, todo, outcomes)
    return outcomes


def _packaged_instead(plans: list[tuple[Dataset, list[Planned]]]) -> str:
    """How to go on where published weights are not available: the same command with weights that pip brings."""
    import shlex

    from ial_bench.encoders.spec import SHORT, EncoderSpec
    from ial_bench.encoders.weights import EXTRA

    missing = dict.fromkeys(
        p.backbone for _, todo in plans for p in todo
        if p.state == "skip" and p.encoder is None and p.backbone and EncoderSpec.parse(p.backbone).from_hub
    )  # fmt: skip
    if not missing:
        return ""
    (short,) = SHORT
    command = shlex.join(["bench", *sys.argv[1:], "--backbone", short])
    return (
        f"the weights of {', '.join(map(str, missing))} cannot be had here (the reasons stand above). Trained weights "
        f"that come with pip, for photographs:\n  {EXTRA}\n  {command}"
    )


def _seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(s) for s in text.replace(",", " ").split())) or [0]
    except ValueError:
        raise ConfigError(f"--seeds {text!r} is not a list of whole numbers", "for instance --seeds 0 1 2") from None


def _print_leaderboards(
    datasets: list[Dataset], engine_options: EngineOptions, registry: Registry, skipped: list[RunRecord]
) -> None:
    from ial_bench.cli.leaderboard import print_leaderboard

    for data in datasets:
        own = [r for r in skipped if r.dataset.name == data.name]
        print_leaderboard(engine_options.results, data.name, engine_options.limit, registry, own)


def _summarise(report: Reporter, dataset: str, todo: list[Planned], outcomes: list[RunRecord]) -> None:
    already = sum(p.done is not None for p in todo)
    new = [r.status for p, r in zip(todo, outcomes, strict=True) if p.done is None]
    parts = [f"{already} done already"] if already else []
    parts += [f"{new.count(s)} {s}" for s in ("done", "skipped", "failed") if s in new]
    report.log(f"{dataset}: {len(todo)} runs: {', '.join(parts)}")
