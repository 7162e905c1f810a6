"""The rooms of docs/architecture.md: imports lead one way, and methods import what docs/plugins.md lists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"ial_bench": ROOT / "benchmark", "ial_methods": ROOT / "methods"}


def modules() -> dict[str, Path]:
    """Every module of both packages by its name."""
    found = {}
    for package, base in PACKAGES.items():
        for path in (base / package).rglob("*.py"):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of both packages that a file imports, for types alone and inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES or node.module in MODULES:
                    yield name if name in MODULES else node.module


IMPORTS = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
IMPORTS["ial_bench"] = set()  # names of the contract, loaded on first use


def table(page: str, head: str) -> list[list[str]]:
    """Rows of the table with this head, as the names in backticks of their first cell."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"| {head} |")[2]
    rows = text.partition("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows]


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_lies_in_a_room() -> None:
    listed = [name for row in table("architecture.md", "room") for name in row]
    assert len(listed) == len(set(listed))
    assert set(listed) == {room(name) for name in MODULES if name.startswith("ial_bench.")}


def test_imports_lead_upwards_in_the_table() -> None:
    place = {name: i for i, row in enumerate(table("architecture.md", "room")) for name in row}
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        if module.startswith("ial_bench.")
        for other in others
        if other != "ial_bench" and room(other) != room(module) and place[room(other)] >= place[room(module)]
    ]
    assert wrong == []


def test_the_harness_never_imports_the_methods() -> None:
    assert [
        m for m, others in IMPORTS.items() if m.startswith("ial_bench") and any("ial_methods" in o for o in others)
    ] == []


def test_no_file_is_part_of_a_circle() -> None:
    assert len([*TopologicalSorter(IMPORTS).static_order()]) == len(MODULES)  # raises CycleError with the circle


def test_methods_import_what_plugins_may() -> None:
    allowed = [name for row in table("plugins.md", "import") for name in row]
    assert all(name in MODULES for name in allowed)
    used = {other for m, others in IMPORTS.items() if m.startswith("ial_methods") for other in others}
    rooms = tuple(f"{name}." for name in allowed if name != "ial_bench")
    assert {u for u in used if not u.startswith(("ial_methods", *rooms)) and u not in allowed} == set()
    assert {a for a in allowed if not any(u == a or u.startswith(f"{a}.") for u in used)} == set()  # nothing for show


def test_places_that_the_page_names_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## To change")[2]
    named = set(re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", page))
    assert len(named) > 15
    bases = ROOT, ROOT / "benchmark" / "ial_bench"
    assert [n for n in sorted(named) if not any((base / n).exists() for base in bases)] == []
