"""`bench show`: all about a method, a dataset or a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ial_bench.cli import options


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
    from ial_bench.cli.console import print_json
    from ial_bench.datasets.known import dataset_cards
    from ial_bench.encoders.spec import ENCODER_FORMS, SHORT, long_name
    from ial_bench.errors import unknown_name
    from ial_bench.folders import results_home
    from ial_bench.registry import Registry

    registry = Registry(plugin or ())
    runs = {p.stem: p for p in results_home(results).glob("*/*/*.json")}
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


def _method(registry: Any, name: str) -> dict[str, Any]:
    from ial_bench.registry import Broken
    from ial_bench.settings import shown

    found = registry.look(name)
    if isinstance(found, Broken):
        return {
            "method": name,
            "from": found.origin,
            "broken": found.reason,
            "traceback": "\n" + found.traceback,
        }
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
    """What is known of an encoder.

    Raises:
        BenchError: its weights cannot be had here.
    """
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.engine.features import FeatureStore
    from ial_bench.errors import BenchError, SkipMethod
    from ial_bench.folders import cache_home

    try:
        card = FeatureStore(cache_home(cache), "cpu", 1, 0, ConsoleReporter()).card(spec)
    except SkipMethod as skip:
        raise BenchError(skip.reason) from skip
    return {
        "encoder": spec, "dimension": card.dim, "parameters": card.image_parameters + card.text_parameters,
        "image parameters": card.image_parameters, "sigmoid scores": card.logit_bias is not None, "digest": card.digest,
        **card.identity,
    }  # fmt: skip


def _dataset(name: str, data_home: Path | None) -> dict[str, Any] | None:
    from ial_bench.datasets.known import open_dataset
    from ial_bench.errors import DataError, UnknownNameError

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
