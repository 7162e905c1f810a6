"""`bench check`: the conformance suite on one method."""

from __future__ import annotations

from typing import Annotated

import typer

from ial_bench.cli import options


def check(
    name: Annotated[str, typer.Argument(help="The method.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="METHOD.KEY=VALUE; may be repeated.")] = None,
    preset: options.Presets = None,
    backbone: Annotated[str | None, typer.Option(help="Encoder to check with. [default: a tiny untrained one]")] = None,
    plugin: options.Plugins = None,
) -> None:
    """Check that a method keeps the contract.

    On a small made-up city. Exit 1 if it does not.

    Example: bench check my-method --plugin my_method.py
    """
    from ial_bench.cli.choices import Wanted, choose
    from ial_bench.cli.console import print_rows
    from ial_bench.testing import CHECK_BACKBONE, run_checks

    wanted = Wanted(name, preset or (), backbone=backbone, settings=settings or ())
    (choice,) = choose(options.registry(plugin), wanted, CHECK_BACKBONE)
    outcomes = run_checks(choice.method, choice.config)
    print_rows(["check", "outcome"], [[o.name, "ok" if o.problem is None else o.problem] for o in outcomes])
    if failed := sum(o.problem is not None for o in outcomes):
        typer.echo(f"{name}: {failed} of {len(outcomes)} checks failed", err=True)
        raise typer.Exit(1)
    typer.echo(f"{name}: all {len(outcomes)} checks passed", err=True)
