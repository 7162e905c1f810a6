"""Fixtures of the tests of imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.made_release import Tree, sound_release


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A sound release, to spoil."""
    return sound_release(tmp_path)
