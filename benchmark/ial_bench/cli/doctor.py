"""`bench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import typer

from ial_bench.cli import options


def doctor(
    results: options.Results = None, cache: options.Cache = None, data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Show versions, hardware, folders, the weights at hand and broken plugins.

    Example: bench doctor
    """
    import os

    from ial_bench.cli.console import print_json
    from ial_bench.datasets.known import installed
    from ial_bench.encoders.load import weights_at_hand
    from ial_bench.engine import fitted_methods, provenance
    from ial_bench.folders import cache_home, results_home
    from ial_bench.folders import data_home as home
    from ial_bench.machine import existing, free_disk, resolve_device
    from ial_bench.registry import Broken, Registry

    facts: dict[str, object] = {"ial-bench": provenance.project(), "packages": provenance.packages()}
    try:
        import torch  # noqa: F401 - so that its build and threads are told

        facts["hardware"] = provenance.hardware(resolve_device("auto"))
    except ImportError as error:
        facts["hardware"] = {**provenance.hardware("cpu"), "torch": f"cannot be imported: {error}"}
    for label, folder in (
        ("results", results_home(results)),
        ("cache", cache_home(cache)),
        ("data", home(data_home)),
    ):
        free = free_disk(folder) / 1e9
        writable = "writable" if os.access(existing(folder), os.W_OK) else "NOT WRITABLE"
        facts[label] = f"{folder} ({writable}, {free:,.1f} GB free)"
    facts["weights"] = weights_at_hand()
    kept, parts = fitted_methods.sizes(cache_home(cache)), fitted_methods.part_sizes(cache_home(cache))
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
