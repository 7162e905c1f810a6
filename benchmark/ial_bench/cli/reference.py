"""The reference pages of the documentation, written from the code: commands, and a card for each method.

    python -m ial_bench.cli.reference DOCS RESULTS

writes ``commands.md`` and ``method-cards.md`` into the folder DOCS; the cost on the cards comes from the records
of ``synth-city`` in RESULTS.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ial_bench.method import Method
from ial_bench.registry import Registry
from ial_bench.settings import shown

COMMANDS, CARDS = "commands.md", "method-cards.md"
_DATASET = "synth-city"


def commands_page() -> str:
    """Every command with its arguments and options."""
    import typer

    from ial_bench.cli.main import app

    root: Any = typer.main.get_command(app)
    parts = ["# Commands", "Written from the code. `bench VERB --help` says the same on the terminal."]
    for name, command in _leaves(root, "bench"):
        parts += [f"## {name}", *_about(command.help or ""), *_parameters(command)]
    return "\n\n".join(parts) + "\n"


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for verb, below in command.commands.items():
        if not below.hidden:
            yield from _leaves(below, f"{name} {verb}")


def _about(text: str) -> Iterator[str]:
    """Paragraphs of a command's help; its example as a block."""
    for paragraph in text.split("\n\n"):
        line = " ".join(paragraph.split())
        if line.startswith("Example: "):
            yield f"```console\n$ {line.removeprefix('Example: ')}\n```"
        elif line:
            yield _plain(line)


def _parameters(command: Any) -> Iterator[str]:
    rows = []
    for p in command.params:
        if getattr(p, "hidden", False) or p.name == "help":
            continue
        if p.param_type_name == "argument":
            names = p.name.upper() + ("..." if p.nargs == -1 else "")
        else:
            names = ", ".join([*p.opts, *p.secondary_opts])
        default = "" if p.default in (None, False, ()) or callable(p.default) else str(p.default)
        text = _plain(getattr(p, "help", "") or "")
        rows.append(f"| `{names}` | {text} | {f'`{default}`' if default else ''} |")
    if rows:
        yield "\n".join(["| argument or option | what | default |", "|---|---|---|", *rows])


def cards_page(results: Path) -> str:
    """What each method is, where it comes from, its presets and settings, and what it took on the drawn city.

    Args:
        results: folder with records of the drawn city; methods without any are shown without cost.
    """
    registry = Registry()
    about = (
        "Written from the code; `bench show METHOD` says the same of the version at hand. Cost is that of the "
        f"committed runs on {_DATASET}, on 2 cores: the mean of the seeds."
    )
    parts = ["# Method cards", about]
    for name in registry.names:
        if registry.origin(name) == "ial-bench":
            parts += _card(name, registry.get(name), results)
    return "\n\n".join(parts) + "\n"


def _card(name: str, method: type[Method], results: Path) -> Iterator[str]:
    info = method.info
    yield f"## {name}"
    yield f"**{_plain(info.title)}.** {_plain(info.summary)}"
    yield inspect.cleandoc(method.__doc__ or "")
    facts = [
        f"from: {_plain(info.reference) or 'ial-bench'}",
        f"learns from: {info.final_fit}" + (", with randomness: run it with several seeds" if info.stochastic else ""),
    ]
    if info.oracle:
        facts.append("an oracle: it is told the true positions of queries, and never ranked")
    if info.scores == "logits":
        facts.append("scores are logits: their softmax over all candidates gives probabilities")
    facts += [f"cost: {cost}" for cost in _cost(name, results)]
    for preset, settings in method.presets.items():
        values = ", ".join(f"`{key}={_value(value)}`" for key, value in settings.items())
        facts.append(f"preset `{preset}`: {values}")
    yield "\n".join(f"- {fact}" for fact in facts)
    rows = []
    for key, field in method.Config.model_fields.items():
        default = "required" if field.is_required() else f"`{_value(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{key}` | {default} | {_plain(field.description or '')} |")
    if rows:
        yield "\n".join(["| setting | default | what |", "|---|---|---|", *rows])


def _cost(name: str, results: Path) -> Iterator[str]:
    from ial_bench.engine.record import RunRecord
    from ial_bench.engine.records import records

    found = [r for _, r in records(results, _DATASET) if isinstance(r, RunRecord) and r.method.name == name]
    timed = [r for r in found if r.status == "done" and r.phases and r.phases.query and r.size]
    if not timed:
        return
    phases = [r.phases for r in timed if r.phases]
    fit = sum(p.fit.seconds + p.index.seconds for p in phases) / len(phases)
    query = sum(p.query.p50_ms for p in phases if p.query) / len(phases)
    size = next(r.size for r in timed if r.size)
    trained = f"{size.parameters_trained:,} of {size.parameters:,} parameters trained"
    yield f"{fit:,.1f} s to fit and index, {query:.2f} ms a query, {size.storage_bytes / 1e6:.1f} MB, {trained}"


def _value(value: object) -> str:
    return shown(value).replace("|", r"\|").replace("`", "'")


def _plain(text: str) -> str:
    """`text` as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", r"\<")


def main(docs: Path, results: Path) -> None:
    """Write both pages."""
    from ial_bench.files import write_text

    write_text(docs / COMMANDS, commands_page())
    write_text(docs / CARDS, cards_page(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
