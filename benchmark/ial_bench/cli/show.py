"""`bench show`, `bench list` and `bench doctor`: what there is here, and what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, print_json, print_rows
from ial_bench.errors import BenchError, DataError, SkipMethod, UnknownNameError, unknown_name

if TYPE_CHECKING:
    from ial_bench.engine.record import RunRecord
    from ial_bench.registry import Registry

listing = typer.Typer(rich_markup_mode=None, help="List methods, datasets or runs.", no_args_is_help=True)


@listing.command("methods")
def methods(plugin: options.Plugins = None, as_json: options.AsJson = False) -> None:
    """List all methods, those of plugins and broken ones among them.

    Example: bench list methods --plugin my_method.py
    """
    from ial_bench.registry import Broken, Registry

    registry = Registry(plugin or ())
    rows: list[dict[str, Any]] = []
    for name in registry.names:
        found = registry.look(name)
        if isinstance(found, Broken):
            about = {"family": "broken", "summary": found.reason}
        else:
            about = {"family": found.info.family, "summary": found.info.summary}
        rows.append({"name": name, **about, "origin": registry.origin(name), "broken": isinstance(found, Broken)})
    if as_json:
        print_json(rows)
    else:
        print_rows(["method", "family", "what it does", "from"], [list(r.values())[:4] for r in rows])
    options.tell_notes(registry)


@listing.command("datasets")
def datasets(data_home: options.DataHome = None, as_json: options.AsJson = False) -> None:
    """List the datasets that are here, and the known ones that are not.

    Example: bench list datasets
    """
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.known import dataset_cards, installed

    rows = []
    for folder in installed(data_home):
        try:
            data = Dataset(folder)
            about = f"{data.description.title}: {len(data):,} photos"
        except DataError as error:
            about = f"cannot be read: {error.problem}"
        rows.append({"name": folder.name, "state": "here", "about": about, "where": str(folder)})
    here = {r["name"] for r in rows}
    rows += [
        {"name": c.name, "state": "not here", "about": f"{c.title}: {c.about}", "where": f"`bench show {c.name}`"}
        for c in dataset_cards().values()
        if c.name not in here
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(["dataset", "state", "what it is", "where"], [list(r.values()) for r in rows])


@listing.command("runs")
def runs(plugin: options.Plugins = None, results: options.Results = None, as_json: options.AsJson = False) -> None:
    """List all stored runs.

    The column code tells of runs by earlier code of a plugin: superseded, where a later run differs by the code alone;
    stale, where the plugin is installed or given with --plugin and has other code now.

    Example: bench list runs
    """
    from ial_bench.engine.records import records
    from ial_bench.report.stale import Code, standings

    found: list[tuple[Path, RunRecord]] = []
    broken = 0
    for path, record in records(folders.results_home(results)):
        if isinstance(record, DataError):
            typer.echo(f"not read: {record}", err=True)
            broken += 1
        else:
            found.append((path, record))
    code = standings([record for _, record in found], Code(options.registry(plugin)))
    rows = []
    for (path, record), standing in zip(found, code, strict=True):
        ssa1 = record.metrics.accuracy.get("SSA-1") if record.metrics else None
        rows.append(
            {
                "dataset": record.dataset.name,
                "method": record.method.name,
                "seed": record.seed,
                "status": record.status,
                "SSA-1": None if ssa1 is None else ssa1.value,
                "code": standing,
                "run_id": record.run_id,
                "path": str(path),
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_rows(
            ["dataset", "method", "seed", "status", "SSA-1", "code", "run"],
            [
                ["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in list(r.values())[:7]]
                for r in rows
            ],
        )
    if broken:
        raise typer.Exit(1)


def show(
    name: Annotated[str, typer.Argument(help="A method, a dataset, the id of a run, or an encoder's spec.")],
    plugin: options.Plugins = None,
    results: options.Results = None,
    cache: options.Cache = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a method, a dataset, a run or an encoder.

    A method with its settings and presets (and the traceback of a broken one), a dataset, the record of a run, or what
    an encoder is known by: dimension, preprocessing, digest.

    Example: bench show linear-probe
    """
    from ial_bench.datasets.known import dataset_cards
    from ial_bench.encoders.spec import ENCODER_FORMS, SHORT, long_name
    from ial_bench.registry import Registry

    registry = Registry(plugin or ())
    runs = {p.stem: p for p in folders.results_home(results).glob("*/*/*.json")}
    cards = dataset_cards()
    facts: dict[str, Any]
    if name in registry.names:
        facts = _method(registry, name)
    elif long_name(name).startswith(ENCODER_FORMS):
        facts = _encoder(long_name(name), cache)
    elif (found := _dataset(name, data_home)) is not None:
        facts = found | (cards[name].facts() if name in cards else {})
    elif name in cards:
        card = cards[name]
        facts = {
            "dataset": name, "state": "not here", "title": card.title, **card.facts(),
            "how to get it": "\n" + "\n".join(f"  {i}. {step}" for i, step in enumerate(card.steps(), 1)),
        }  # fmt: skip
    elif name in runs:
        from ial_bench.engine.records import read_record

        facts = read_record(runs[name]).model_dump(mode="json")
        as_json = True
    else:
        raise unknown_name(
            "method, dataset, run or encoder",
            name,
            [*registry.names, *cards, *runs, *SHORT],
            "`bench list methods|datasets|runs` shows all",
        )
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            typer.echo(f"{key}: {value}")


def _method(registry: Registry, name: str) -> dict[str, Any]:
    from ial_bench.registry import Broken
    from ial_bench.settings import shown

    found = registry.look(name)
    if isinstance(found, Broken):
        return {"method": name, "from": found.origin, "broken": found.reason, "traceback": "\n" + found.traceback}
    info = found.info
    facts: dict[str, Any] = {
        "method": name,
        "title": info.title,
        "family": info.family,
        "what it does": info.summary,
        "reference": info.reference or "none",
        "version": info.version,
        "from": registry.origin(name),
        "final fit on": info.final_fit,
        "stochastic": info.stochastic,
    }
    for key, field in found.Config.model_fields.items():
        default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
        facts[f"setting {name}.{key}"] = f"{default}  {field.description or ''}".rstrip()
    for preset, settings in found.presets.items():
        facts[f"preset {name}={preset}"] = ", ".join(f"{key}={shown(value)}" for key, value in settings.items())
    return facts


def _encoder(spec: str, cache: Path | None) -> dict[str, Any]:
    """What is known about an encoder.

    Raises:
        BenchError: its weights cannot be had here.
    """
    from ial_bench.engine.features import FeatureStore

    try:
        card = FeatureStore(folders.cache_home(cache), "cpu", 1, 0, ConsoleReporter()).card(spec)
    except SkipMethod as skip:
        raise BenchError(skip.reason) from skip
    return {
        "encoder": spec, "dimension": card.dim, "parameters": card.image_parameters + card.text_parameters,
        "image parameters": card.image_parameters, "sigmoid scores": card.logit_bias is not None, "digest": card.digest,
        **card.identity,
    }  # fmt: skip


def _dataset(name: str, data_home: Path | None) -> dict[str, Any] | None:
    from ial_bench.datasets.known import open_dataset

    try:
        data = open_dataset(name, data_home)
    except UnknownNameError:
        return None
    except DataError:
        if "/" in name:
            raise
        return None
    d = data.description
    return {
        "dataset": data.name,
        "title": d.title,
        "folder": str(data.folder),
        "images": str(data.images_folder),
        "licence": d.licence or "not stated",
        "photos": ", ".join(f"{n:,} {s}" for s, n in data.counts().items()),
        "addresses": f"{len(data.addresses):,}, of which candidates {len(data.candidates):,}",
        "digest": data.digest,
        **{f"made by {k}": v for k, v in d.made_by.items()},
    }


def doctor(
    results: options.Results = None, cache: options.Cache = None, data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Show versions, hardware, folders, the weights at hand and broken plugins.

    Example: bench doctor
    """
    from ial_bench.datasets.known import installed
    from ial_bench.encoders.load import weights_at_hand
    from ial_bench.engine import fitted_methods, provenance
    from ial_bench.machine import existing, free_disk, resolve_device
    from ial_bench.registry import Broken, Registry

    facts: dict[str, object] = {"ial-bench": provenance.project(), "packages": provenance.packages()}
    try:
        import torch  # noqa: F401 - so that its build and threads are shown

        facts["hardware"] = provenance.hardware(resolve_device("auto"))
    except ImportError as error:
        facts["hardware"] = {**provenance.hardware("cpu"), "torch": f"cannot be imported: {error}"}
    for label, folder in (
        ("results", folders.results_home(results)),
        ("cache", folders.cache_home(cache)),
        ("data", folders.data_home(data_home)),
    ):
        free = free_disk(folder) / 1e9
        writable = "writable" if os.access(existing(folder), os.W_OK) else "NOT WRITABLE"
        facts[label] = f"{folder} ({writable}, {free:,.1f} GB free)"
    facts["weights"] = weights_at_hand()
    kept, parts = fitted_methods.sizes(folders.cache_home(cache)), fitted_methods.part_sizes(folders.cache_home(cache))
    facts["fitted methods"] = f"{len(kept):,} in the cache, {sum(kept.values()) / 1e6:,.1f} MB"
    facts["shared parts"] = f"{len(parts):,} in the cache, {sum(parts.values()) / 1e6:,.1f} MB"
    facts["datasets"] = [f.name for f in installed(data_home)]
    registry = Registry()
    looked = {n: registry.look(n) for n in registry.names}
    facts["methods"] = [n for n, m in looked.items() if not isinstance(m, Broken)]
    facts["broken methods"] = {n: m.reason for n, m in looked.items() if isinstance(m, Broken)}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{key}: {', '.join(shown) if isinstance(shown, list) else shown}")
