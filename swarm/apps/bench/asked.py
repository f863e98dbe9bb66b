"""What every kind of benchmark is asked alike, as options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from swarm import units
from swarm.apps.command import Command
from swarm.apps.options import quantity, quiet

F = TypeVar("F", bound=Callable[..., Any])
SIZE = quantity(units.parse_size)
STDOUT = "-"
FULL = "swarm.bench.full"
MAX_ROUNDS = 1000


class Measuring(Command):
    """A benchmark: with `-v` its table has every round, and all that clients were told."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        flag = next(option for option in self.params if option.name == "verbose")
        assert isinstance(flag, click.Option)
        flag.help = "Every round, all that clients were told, and tracebacks."

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta[FULL] = ctx.params["verbose"]
        return super().invoke(ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of every benchmark."""

    rounds: int
    as_json: str | None
    """A file, or `-` for stdout."""
    plot: Path | None
    baseline: Path | None
    fail_below: float | None
    """In per cent."""
    fail_on: Literal["any", "rate", "cpu"]
    quiet: bool


def size(
    *names: str, default: str | Sequence[str] | None, text: str, **more: Any
) -> Callable[[F], F]:
    """An option that is a number of bytes."""
    return click.option(
        *names, type=SIZE, metavar="SIZE", default=default, show_default=True, help=text, **more
    )


def count(name: str, *, most: int | None = None, default: int = 1, text: str) -> Callable[[F], F]:
    """An option that is a number of something, one or more."""
    kind = click.IntRange(1, most)
    return click.option(name, type=kind, default=default, show_default=True, help=text)


def folder(function: F) -> F:
    """The option `--dir`, as `folder`."""
    option = click.option(
        "--dir",
        "folder",
        type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
        default=".",
        show_default="this folder",
        help="Where the data goes meanwhile: a folder on the disk that you mean.",
    )
    return option(function)


_ASKING = (
    count("--rounds", most=MAX_ROUNDS, default=3, text="How often each is measured, in turns."),
    click.option(
        "--json",
        "as_json",
        is_flag=False,
        flag_value=STDOUT,
        metavar="[FILE]",
        help="The report as one JSON object, on stdout or into FILE.",
    ),
    click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Draw a chart: .svg, or .png with swarm-engine[plot].",
    ),
    click.option(
        "--baseline",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Hold the medians against an earlier --json report of the same work.",
    ),
    click.option(
        "--fail-below",
        type=click.FloatRange(0, 1000),
        metavar="PCT",
        help="Exit with 10 if a median is worse than the baseline's by more than this.",
    ),
    click.option(
        "--fail-on",
        type=click.Choice(["any", "rate", "cpu"]),
        default="any",
        show_default=True,
        help="Which medians those are; CPU per GiB is the steadier one.",
    ),
    quiet,
)


def asking(function: F) -> F:
    """Adds the options that are the fields of `Asked`."""
    for option in reversed(_ASKING):
        function = option(function)
    return function
