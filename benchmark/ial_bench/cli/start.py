"""The entry point of `bench`: what must be set up before anything heavy is imported."""

from __future__ import annotations

from ial_bench.cli import interrupts
from ial_bench.cores import prepare_threads


def main() -> None:
    """Run the command line."""
    interrupts.watch()
    prepare_threads()
    try:
        from ial_bench.cli.main import main as run

        run()
    except KeyboardInterrupt:
        interrupts.end()
    except SystemExit as left:
        if interrupts.came() and left.code:  # the option parser turns an interruption into an exit
            interrupts.end()
        raise
    finally:
        interrupts.hurry()
