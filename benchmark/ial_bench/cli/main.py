"""The `bench` command: all commands put together, and how errors are shown."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import ial_bench
from ial_bench.cli import (
    analyse,
    data,
    develop,
    interrupts,
    leaderboard,
    power,
    predict,
    report,
    results,
    run,
    show,
)
from ial_bench.cli.console import close_gates
from ial_bench.errors import BenchError, ConfigError, UnknownNameError

DEBUG_VARIABLE = "IAL_BENCH_DEBUG"
_OBJECTS = 50_000  # allocations between collections of garbage: records are kept, and searched in vain

app = typer.Typer(
    rich_markup_mode=None,
    name="bench",
    help="Benchmark harness for Image Address Localization: which address was this street photo taken at?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(analyse.compare)
app.command("power")(power.power)
app.add_typer(analyse.app, name="analyse")
app.command("plot")(report.plot)
app.command("report")(report.report)
app.command("score")(results.score)
app.add_typer(results.app, name="results")
app.command("predict")(predict.predict)
app.add_typer(show.listing, name="list")
app.command("show")(show.show)
app.add_typer(data.app, name="data")
app.command("check")(develop.check)
app.command("new-method")(develop.new_method)
app.add_typer(develop.pretraining, name="pretrain")
app.command("doctor")(show.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ial-bench {ial_bench.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[  # noqa: ARG001 - acts in its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def joined_lists(arguments: Sequence[str]) -> list[str]:
    """``--seeds 0 1 2`` as ``--seeds 0,1,2``, the form that the option parser takes."""
    joined: list[str] = []
    after_seeds = False
    for argument in arguments:
        if after_seeds and argument.isdigit() and joined[-1] != "--seeds":
            joined[-1] += f",{argument}"
            continue
        after_seeds = argument == "--seeds" or (after_seeds and argument.isdigit())
        joined.append(argument)
    return joined


def main() -> None:
    """Run the command line; an error is shown as one line with its fix, and sets the exit code."""
    close_gates()
    gc.set_threshold(_OBJECTS, 20, 50)
    try:
        app(joined_lists(sys.argv[1:]))
    except BenchError as error:
        _fail(error.problem, error.fix, 2 if isinstance(error, (ConfigError, UnknownNameError)) else 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader is gone
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: a line instead of a page
        _fail(
            f"unexpected {type(error).__name__}: {error}",
            "this is a fault of ial-bench or of a plugin; `bench --debug ...` shows the traceback",
            1,
        )


def _fail(problem: str, fix: str | None, code: int) -> None:
    if interrupts.came():
        raise KeyboardInterrupt  # whatever error the unwinding caused
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exc()
    print(f"error: {problem}", file=sys.stderr)
    if fix:
        print(f"  fix: {fix}", file=sys.stderr)
    sys.exit(code)
