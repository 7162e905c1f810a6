"""The entry point of `bench`: what must be set up before anything heavy is imported."""

from __future__ import annotations

from ial_bench.cli import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.watch()
    try:
        from ial_bench.machine import prepare_threads

        prepare_threads()
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
