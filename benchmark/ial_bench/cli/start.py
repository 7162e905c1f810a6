"""The first lines of the `bench` command: what must be said before anything heavier is imported."""

from __future__ import annotations

from ial_bench.cli import interrupts
from ial_bench.machine import prepare_threads


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
        if interrupts.came() and left.code:  # the option parser makes an exit of its own of an interruption
            interrupts.end()
        raise
    finally:
        interrupts.hurry()
