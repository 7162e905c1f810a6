"""`bench run`: methods on a dataset, then the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ial_bench.cli import options

if TYPE_CHECKING:
    from ial_bench.engine.plan import Choice, Planned
    from ial_bench.engine.record import RunRecord
    from ial_bench.registry import Registry


def run(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of a dataset, or the path of its folder.")],
    methods: Annotated[str, typer.Option("--methods", "-m", help="Comma-separated names, or all.")] = "all",
    seeds: Annotated[str, typer.Option(help="Seeds for methods with randomness: 0 1 2")] = "0",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="METHOD.KEY=VALUE; may be repeated. `bench show METHOD` lists keys."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with a [METHOD] table of settings a method.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Encoder of every method that uses one: openclip:MODEL/WEIGHTS or timm:MODEL[/FILE]."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Photos per split at most: a quick look, not a result.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Candidates stored per query.")] = 10,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run again what is done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run.")] = False,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Measure latency.")] = True,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos to encode at once.")] = 32,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode photos. [default: half the cores]")
    ] = None,
    chunk: Annotated[int, typer.Option(min=1, help="Photos per completion mark: what a kill can cost.")] = 1024,
    plugin: options.Plugins = None,
    results: options.Results = None,
    cache: options.Cache = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Run methods on a dataset and print the leaderboard.

    What is done already is not run again; what was interrupted resumes.

    Example: bench run --methods all --dataset sf-ial-large --seeds 0 1 2
    """
    from ial_bench.cli.console import ConsoleReporter, print_json
    from ial_bench.datasets.locate import open_dataset
    from ial_bench.engine.devices import default_workers, resolve_device
    from ial_bench.engine.features import FeatureStore
    from ial_bench.engine.plan import EngineOptions, plan
    from ial_bench.engine.run import Engine
    from ial_bench.homes import cache_home, results_home
    from ial_bench.registry import Registry

    report = ConsoleReporter()
    registry = Registry(plugin or ())
    choices = choose(registry, methods, settings or [], config, backbone)
    for note in registry.notes:
        report.log(f"note: {note}")
    data = open_dataset(dataset, data_home)
    engine_options = EngineOptions(
        results_home(results), cache_home(cache), resolve_device(device), batch_size,
        default_workers() if workers is None else workers,
        k=k, limit=limit, timing=timing, rerun=rerun, chunk_rows=chunk,
    )  # fmt: skip
    store = FeatureStore(engine_options.cache, engine_options.device, batch_size, engine_options.workers, report, chunk)
    todo = plan(data, choices, _seeds(seeds), engine_options, store, report)
    if dry_run:
        _show_plan(todo, as_json)
        return
    engine = Engine(data, engine_options, store, report)
    outcomes: list[RunRecord] = []
    for number, planned in enumerate(todo, 1):
        if planned.done is not None:
            outcomes.append(planned.done)
            continue
        report.log(
            f"[{number}/{len(todo)}] {planned.method.info.name} (seed {planned.spec.seed}, run {planned.spec.run_id})"
        )
        record = engine.execute(planned)
        outcomes.append(record)
        if record.status != "done":
            report.log(f"{record.status}: {record.reason}")
    _summarise(report, todo, outcomes)
    if as_json:
        print_json([r.model_dump(mode="json") for r in outcomes])
    else:
        from ial_bench.cli.leaderboard import print_leaderboard

        print_leaderboard(engine_options.results, data.name, limit=limit)
    if any(r.status == "failed" for r in outcomes):
        raise typer.Exit(1)


def choose(
    registry: Registry, methods: str, settings: list[str], config: Path | None, backbone: str | None
) -> list[Choice]:
    """The chosen methods with their configurations: file first, then --backbone, then --set."""
    from ial_bench.encoders.spec import EncoderSpec
    from ial_bench.engine.plan import Choice
    from ial_bench.errors import ConfigError
    from ial_bench.method import config_from_text

    texts = _from_file(config) if config else {}
    if backbone is not None:
        EncoderSpec.parse(backbone)
    for setting in settings:
        left, equals, value = setting.partition("=")
        method, dot, key = left.partition(".")
        if not (equals and dot and method and key):
            raise ConfigError(f"--set {setting!r} is not METHOD.KEY=VALUE", "for instance --set linear-probe.c=0.316")
        texts.setdefault(method, {})[key] = value
    names = registry.select(methods)
    for method in texts:
        registry.look(method)  # an unknown name is told, even if the method is not among the chosen
    choices = []
    for name in names:
        cls = registry.get(name)
        own = dict(texts.get(name, {}))
        if backbone is not None and "backbone" in cls.Config.model_fields:
            own.setdefault("backbone", backbone)
        parsed = config_from_text(cls, own)
        if (spec := getattr(parsed, "backbone", None)) is not None:
            EncoderSpec.parse(str(spec))
        choices.append(Choice(cls, parsed, registry.origin(name)))
    return choices


def _from_file(path: Path) -> dict[str, dict[str, str]]:
    import json

    from ial_bench.errors import ConfigError, DataError
    from ial_bench.files import read_toml

    try:
        tables = read_toml(path)
    except DataError as error:
        raise ConfigError(error.problem, "write a [METHOD] table a method") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} stands outside a [METHOD] table", "write a [METHOD] table a method")
    return {name: {k: json.dumps(v) for k, v in table.items()} for name, table in tables.items()}


def _seeds(text: str) -> list[int]:
    from ial_bench.errors import ConfigError

    try:
        return list(dict.fromkeys(int(s) for s in text.replace(",", " ").split())) or [0]
    except ValueError:
        raise ConfigError(f"--seeds {text!r} is not a list of whole numbers", "for instance --seeds 0 1 2") from None


def _show_plan(todo: list[Planned], as_json: bool) -> None:
    from ial_bench.cli.console import print_json, print_rows

    rows = [
        {
            "method": p.spec.method,
            "seed": p.spec.seed,
            "run_id": p.spec.run_id,
            "state": p.state,
            "reason": p.reason,
        }
        for p in todo
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(
            ["method", "seed", "run", "state", "reason"],
            [[str(v or "" if k == "reason" else v) for k, v in r.items()] for r in rows],
        )


def _summarise(report: Any, todo: list[Planned], outcomes: list[RunRecord]) -> None:
    already = sum(p.done is not None for p in todo)
    new = [r.status for p, r in zip(todo, outcomes, strict=True) if p.done is None]
    parts = [f"{already} done already"] if already else []
    parts += [f"{new.count(s)} {s}" for s in ("done", "skipped", "failed") if s in new]
    report.log(f"{len(todo)} runs: {', '.join(parts)}")
