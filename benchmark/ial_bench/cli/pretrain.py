"""`bench pretrain`: making the encoders that come with the package anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ial_bench.cli import options
from ial_bench.machine import usable_cores

app = typer.Typer(rich_markup_mode=None, help="Train the encoders of the package from nothing.", no_args_is_help=True)


def shares(text: str) -> tuple[float, float, float]:
    """Three shares from ``0.6,0.25,0.15``.

    Raises:
        ConfigError: not of that form.
    """
    from ial_bench.errors import ConfigError

    try:
        caption, both, address = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not three shares", "write such as --mix 0.6,0.25,0.15") from error
    return caption, both, address


@app.command("tiny")
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
    from ial_bench.cli.console import ConsoleReporter
    from ial_bench.errors import ConfigError
    from ial_bench.files import check_target, check_writable
    from ial_bench.folders import cache_home
    from ial_bench.synth.photos import PhotoPlan, make_photos
    from ial_bench.synth.pretraining import MODEL, Recipe, pretrain, relearn_merges

    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} is not a safetensors file", "give a name that ends in .safetensors")
    plan = PhotoPlan(cities=cities, seed=seed)
    recipe = Recipe(plan=plan, seed=seed, steps=steps, minutes=minutes, mix=shares(mix), batch=batch)
    check_target(out)
    check_writable(out.absolute().parent)
    reporter, home = ConsoleReporter(), cache_home(cache)
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
