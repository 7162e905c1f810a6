"""The first lines of the `bench` command: what must be said before anything heavier is imported."""

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
        if interrupts.came() and left.code:  # the option parser makes an exit of its own of an interruption
            interrupts.end()
        raise
    finally:
        interrupts.hurry()
