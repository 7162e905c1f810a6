"""`bench new-method`, `bench check` and `bench pretrain`: for those who make methods and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, print_rows
from ial_bench.errors import ConfigError
from ial_bench.machine import usable_cores

pretraining = typer.Typer(
    rich_markup_mode=None, help="Train the encoders of the package from nothing.", no_args_is_help=True
)


def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method: lower case, words joined by -.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. [default: NAME.py, - as _]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a working method, to be changed.

    Example: bench new-method my-method
    """
    from importlib.resources import files

    from ial_bench.files import checked_name, write_text
    from ial_bench.registry import Registry

    words = checked_name(name, "method").split("-")
    if not all(w.isalnum() and w == w.lower() for w in words) or not name[0].isalpha():
        raise ConfigError(f"{name!r} cannot be a method's name", "use lower-case words joined by -, such as my-method")
    if name in Registry().names:
        raise ConfigError(f"there is a method {name!r} already", "choose another name")
    path = out or Path(f"{name.replace('-', '_')}.py")
    template = files("ial_bench").joinpath("method_template.py.txt").read_text(encoding="utf-8")
    text = template.replace("NAME", name).replace("TITLE", " ".join(words).capitalize())
    text = text.replace("CLASS", "".join(w.capitalize() for w in words))
    unchanged = path.is_file() and path.read_bytes() == text.encode()  # written by a call that was killed
    if path.exists() and not unchanged and not force:
        raise ConfigError(f"{path} is there already", "give --force to replace it, or another --out")
    write_text(path, text)
    typer.echo(f"wrote {path}")
    typer.echo(
        f"next: bench check {name} --plugin {path}; bench run --methods {name} --plugin {path} --dataset DATASET"
    )


def check(
    name: Annotated[str, typer.Argument(help="The method.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="METHOD.KEY=VALUE; may be repeated.")] = None,
    preset: options.Presets = None,
    backbone: Annotated[str | None, typer.Option(help="Encoder to check with. [default: a tiny untrained one]")] = None,
    plugin: options.Plugins = None,
) -> None:
    """Check that a method keeps the contract.

    On a small made-up city. Exit 1 if it does not.

    Example: bench check my-method --plugin my_method.py
    """
    from ial_bench.cli.choices import Wanted, choose
    from ial_bench.testing import CHECK_BACKBONE, run_checks

    wanted = Wanted(name, preset or (), backbone=backbone, settings=settings or ())
    (choice,) = choose(options.registry(plugin), wanted, CHECK_BACKBONE)
    outcomes = run_checks(choice.method, choice.config)
    print_rows(["check", "outcome"], [[o.name, "ok" if o.problem is None else o.problem] for o in outcomes])
    if failed := sum(o.problem is not None for o in outcomes):
        typer.echo(f"{name}: {failed} of {len(outcomes)} checks failed", err=True)
        raise typer.Exit(1)
    typer.echo(f"{name}: all {len(outcomes)} checks passed", err=True)


@pretraining.command("tiny")
def tiny(
    out: Annotated[Path, typer.Option(help="Weights to write; facts about them go beside it.")] = Path(
        "tiny-street.safetensors"
    ),
    minutes: Annotated[float, typer.Option(help="Time to train, besides rendering.")] = 15.0,
    steps: Annotated[int | None, typer.Option(help="Train so many steps instead: the same weights each time.")] = None,
    cities: Annotated[int, typer.Option(help="Synthetic cities to learn from; no dataset is made from them.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the cities, of first weights and of order.")] = 0,
    mix: Annotated[str, typer.Option(help="Shares of texts: caption, caption with address, address.")] = "1,0,0",
    batch: Annotated[int, typer.Option(help="Photos of a step.")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that render. [default: all cores]")] = None,
    merges: Annotated[
        Path | None, typer.Option(help="Also learn the tokenizer's merges anew, and write them here.")
    ] = None,
    cache: options.Cache = None,
) -> None:
    """Train tiny-street: photos of other synthetic cities against captions and addresses.

    Resumes a run that was stopped.

    Example: bench pretrain tiny --minutes 15 --out my-tiny.safetensors
    """
    from ial_bench.files import check_target, check_writable
    from ial_bench.synth.photos import PhotoPlan, make_photos
    from ial_bench.synth.pretraining import MODEL, Recipe, pretrain, relearn_merges

    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} is not a safetensors file", "give a name that ends in .safetensors")
    plan = PhotoPlan(cities=cities, seed=seed)
    recipe = Recipe(plan=plan, seed=seed, steps=steps, minutes=minutes, mix=_shares(mix), batch=batch)
    check_target(out)
    check_writable(out.absolute().parent)
    reporter, home = ConsoleReporter(), folders.cache_home(cache)
    with reporter.track(plan.n_photos, "photos", "photos") as advance:
        photos = make_photos(plan, home, workers or usable_cores(), advance)
    if merges is not None:
        typer.echo(f"{merges}: {relearn_merges(photos, merges):,} merges")
    facts = pretrain(recipe, photos, out, home, reporter)
    typer.echo(
        f"{out}: {facts['steps']:,} steps, {facts['epochs']} epochs in {facts['seconds']:,.0f} s, "
        f"{facts['images_per_second']:,.0f} images/s; loss {facts['loss']:.3f}"
    )
    typer.echo(f"next: bench run --backbone openclip:{MODEL}/{out.absolute()}")


def _shares(text: str) -> tuple[float, float, float]:
    """Three shares from ``0.6,0.25,0.15``.

    Raises:
        ConfigError: not of that form.
    """
    try:
        caption, both, address = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not three shares", "write such as --mix 0.6,0.25,0.15") from error
    return caption, both, address
