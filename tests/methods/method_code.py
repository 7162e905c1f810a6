"""The code behind the answers of each built-in method, held against the method's version.

python tests/methods/method_code.py --update                          a version was raised, a method came or went
python tests/methods/method_code.py --unchanged "REASON" [METHOD...]  code changed, and answers stay as they were

Both write `method-code.toml` beside this file. A method's code is what its answers come from: the module of its class,
and what that imports, directly or not and for its types too (the engine hands over objects of those classes), of
`ial_methods` and of the modules of `ial_bench` named in `COUNTED`. The rest of ial_bench measures, reads and stores;
encoders are known by the digest of their weights and preprocessing, datasets by theirs, and the protocol has a version
of its own.

Code is compared as a syntax tree, walked here, since `ast.dump` writes other texts in other versions of Python: without
positions, comments, docstrings, imports for types alone, the texts of settings and cards, and without fields that are
empty, as those are that a later Python adds.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "tests/methods/method_code.py"
FILE = Path("tests/methods/method-code.toml")
FOLDERS = {"ial_methods": "methods", "ial_bench": "benchmark"}
COUNTED = (
    "ial_methods", "ial_bench.addresses", "ial_bench.frozen", "ial_bench.seeds", "ial_bench.topk", "ial_bench.geo",
    "ial_bench.geocoding", "ial_bench.training", "ial_bench.encoders.image_tower", "ial_bench.encoders.pooling",
    "ial_bench.encoders.towers", "ial_bench.encoders.text_tree",
    "ial_bench.encoders.blocks",
)  # fmt: skip
_POINTS = "ial_bench.methods"
_FOR_PEOPLE = {
    "Field": {"description"},
    "MethodInfo": {"title", "family", "summary", "reference", "version"},
}
_DIGITS = 12


@dataclass(frozen=True)
class Code:
    """A method's version, digests of the files behind its answers, and why the last change left these as they were."""

    version: str
    code: str
    files: Mapping[str, str] = field(default_factory=dict)
    unchanged: str = ""


@dataclass(frozen=True)
class Kept:
    """What `method-code.toml` says."""

    methods: Mapping[str, Code]
    files: Mapping[str, str]


def normalised(node: Any) -> Any:
    """A syntax tree as lists and texts that are the same in every Python and change with what the code does."""
    if isinstance(node, list):
        return [normalised(n) for n in node if not _says_nothing(n)]
    if not isinstance(node, ast.AST):
        return None if node is None else f"{type(node).__name__} {node!a}"  # as ASCII: what can be printed depends too
    if isinstance(node, ast.Constant):
        return ["Constant", f"{type(node.value).__name__} {node.value!a}"]
    told = [type(node).__name__]
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if name == "keywords" and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            value = [k for k in value if k.arg not in _FOR_PEOPLE.get(node.func.id, ())]
        if name not in {"type_comment", "type_ignores"} and (part := normalised(value)) not in (None, []):
            told += [name, part]
    return told


def _says_nothing(node: Any) -> bool:
    """A docstring or another text that stands alone, or what is there for types."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING" and not node.orelse


def digest(value: Any) -> str:
    """The first digits of the SHA-256 of `value` as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]


class Sources:
    """The source files of a checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trees: dict[Path, ast.Module] = {}
        self._homes: dict[str, str] = {}
        for node in self.tree(self.file("ial_bench") or root).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
                self._homes = ast.literal_eval(node.value)

    def file(self, module: str) -> Path | None:
        """Where a module of the project lies."""
        top = module.partition(".")[0]
        stem = self.root / FOLDERS.get(top, "") / module.replace(".", "/")
        return next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)

    def tree(self, file: Path) -> ast.Module:
        """The syntax tree of a file."""
        if file not in self._trees:
            self._trees[file] = ast.parse(file.read_bytes())
        return self._trees[file]

    def behind(self, module: str) -> dict[str, str]:
        """Digests, by path, of all counted files that a module needs, with its own; those that do nothing left out."""
        found: dict[str, str] = {}
        seen, ahead = {module}, [module]
        while ahead:
            file = self.file(ahead.pop())
            if file is None:
                continue
            body = normalised(self.tree(file).body)
            if body:
                found[file.relative_to(self.root).as_posix()] = digest(body)
            new = {m for m in self._imported(self.tree(file)) if _counts(m)} - seen
            seen |= new
            ahead += sorted(new)
        return dict(sorted(found.items()))

    def _imported(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module
                for alias in node.names:
                    home = self._homes.get(alias.name) if node.module == "ial_bench" else None
                    yield f"{node.module}.{home or alias.name}"  # a name of no module is found nowhere


def _counts(module: str) -> bool:
    return any(module == c or module.startswith(f"{c}.") for c in COUNTED)


def now(root: Path = ROOT) -> dict[str, Code]:
    """The code of the methods that `pyproject.toml` names."""
    sources = Sources(root)
    found = {}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    for name, target in project["project"]["entry-points"][_POINTS].items():
        module, _, cls = target.partition(":")
        file = sources.file(module)
        assert file is not None, f"{name}: no module {module}"
        files = sources.behind(module)
        found[name] = Code(_version(sources.tree(file), cls), digest(files), files)
    return found


def _version(tree: ast.Module, cls: str) -> str:
    """What the class's `info` says, `MethodInfo`'s default where it says nothing."""
    (body,) = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls]
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "info":
            keywords = node.value.keywords if isinstance(node.value, ast.Call) else []
            return next((str(ast.literal_eval(k.value)) for k in keywords if k.arg == "version"), "1")
    raise AssertionError(f"{cls} has no info of its own")


def kept(root: Path = ROOT) -> Kept:
    """What was written last; nothing where nothing was."""
    file = root / FILE
    told = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    methods = {
        name: Code(m["version"], m["code"], unchanged=m.get("unchanged", ""))
        for name, m in told.get("methods", {}).items()
    }
    return Kept(methods, told.get("files", {}))


def changed(before: Kept, after: Mapping[str, Code]) -> list[str]:
    """The methods whose code is another and whose version is not."""
    return [
        name
        for name, code in after.items()
        if (old := before.methods.get(name)) and old.version == code.version and old.code != code.code
    ]


def message(before: Kept, after: Mapping[str, Code]) -> str:
    """What is to be done, and why; empty for nothing."""
    lines = []
    guilty = changed(before, after)
    by_files: dict[tuple[str, ...], list[str]] = {}
    for name in guilty:
        files = after[name].files
        by_files.setdefault(tuple(f for f in files if before.files.get(f) != files[f]), []).append(name)
    for paths, names in by_files.items():
        what = ", ".join(paths) or "a file that is no longer imported"
        lines.append(f"{', '.join(names)}: the version is the same, the code is not: {what}")
    if guilty:
        lines += [
            f'where answers stay as they were: python {SCRIPT} --unchanged "REASON" {" ".join(guilty)}',
            f"where they may change: raise `version` in the method's MethodInfo, then python {SCRIPT} --update",
        ]
    old = before.methods
    other = {
        "new": [n for n in after if n not in old],
        "gone": [n for n in old if n not in after],
        "of another version": [n for n, c in after.items() if n in old and old[n].version != c.version],
    }
    told = [f"{', '.join(names)}: {what}" for what, names in other.items() if names]
    return "\n".join([*lines, *told, *([f"write it down: python {SCRIPT} --update"] if told else [])])


def write(root: Path = ROOT, unchanged: str = "", names: Sequence[str] = ()) -> str:
    """Write what is now, and give what is still to be done.

    Args:
        root: of the checkout.
        unchanged: why changed code gives the same answers; empty: methods with changed code stay as written.
        names: the methods of which this is said; none: all.
    """
    before, after = kept(root), now(root)
    if unknown := set(names) - after.keys():
        raise SystemExit(f"no such method: {', '.join(sorted(unknown))}")
    guilty = changed(before, after)
    said = [n for n in guilty if unchanged and n in (names or guilty)]
    left = [n for n in guilty if n not in said]
    methods: dict[str, dict[str, str]] = {}
    for name, code in sorted(after.items()):
        old = before.methods.get(name)
        reason = unchanged if name in said else old.unchanged if old and old.version == code.version else ""
        told = old if old and name in left else code
        methods[name] = {"version": told.version, "code": told.code} | ({"unchanged": reason} if reason else {})
    files = {path: d for code in after.values() for path, d in code.files.items()}
    # Files behind methods that are still to be looked at stay as written, so that these can be told which have changed.
    waiting = {path for name in left for path in after[name].files}
    files = {p: before.files.get(p, "") if p in waiting else d for p, d in sorted(files.items())}
    (root / FILE).write_text(tomli_w.dumps({"files": files, "methods": methods}), encoding="utf-8")
    return message(kept(root), after)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """The command."""
    parser = ArgumentParser(prog=SCRIPT, description="Versions of built-in methods, held against their code.")
    parser.add_argument("--update", action="store_true", help="write down raised versions and new methods")
    parser.add_argument("--unchanged", metavar="REASON", help="changed code gives the same answers, and why")
    parser.add_argument(
        "methods", nargs="*", metavar="METHOD", help="those of which --unchanged is said [default: all]"
    )
    told = parser.parse_args(arguments)
    if told.unchanged is not None and not told.unchanged.strip():
        parser.error("--unchanged needs a reason")
    if told.methods and not told.unchanged:
        parser.error("methods go with --unchanged")
    writes = told.update or told.unchanged
    left = write(root, told.unchanged or "", told.methods) if writes else message(kept(root), now(root))
    print(left or "versions follow the code")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
