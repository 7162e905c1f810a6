"""A kill in the midst of writing: `kill_everywhere.py` has all verbs and steps, these are some of the longest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "kill_everywhere.py"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_the_same_command_comes_to_the_same_end() -> None:
    verbs = ("run", "report", "export", "build", "merge", "site-template")
    done = subprocess.run([sys.executable, SCRIPT, *verbs, "--most", "1"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{len(verbs)} kills, 0 wrong")
