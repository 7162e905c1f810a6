"""Modules of the tests in a process of their own, for their memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]


def output_of(module: str, *arguments: object) -> str:
    """What `python -m MODULE ARGUMENTS` prints, begun in the folder of the tests.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=_TESTS, stdout=subprocess.PIPE, text=True, check=True).stdout
