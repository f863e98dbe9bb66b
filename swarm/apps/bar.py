"""One live bar on stderr. The only module that imports rich."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from .output import Step, escape

NAME_WIDTH = 20
BAR_WIDTH = 10
"""The narrowest bar; it takes what the name, the percentage and the details leave."""
PERCENT_WIDTH = 4


class _Above(Progress):
    """Bars with some lines of text below them."""

    below: Callable[[], str] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below and (text := self.below()):
            yield Text(text, no_wrap=True, overflow="ellipsis")


class Bar:
    """The name, a bar, the percentage and the details of one job, redrawn in place.

    `below` has lines to show under it, for as long as it is there: then all of it goes at the end.
    """

    def __init__(
        self, console: Console | None = None, *, below: Callable[[], str] | None = None
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        name = Column(max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
        self._progress = _Above(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(
                bar_width=None,
                complete_style="cyan",
                finished_style="green",
                table_column=Column(min_width=BAR_WIDTH, ratio=1),
            ),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[details]}", markup=False, table_column=Column(no_wrap=True)),
            console=self._console,
            auto_refresh=False,  # no thread: each step draws
            expand=True,
            transient=below is not None,
        )
        self._progress.below = below
        self._task = self._progress.add_task("", total=1.0, details="", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Draws this step."""
        busy = () if step.state in ("downloading", "seeding") else (step.state,)
        name = escape(step.name)
        room = self._console.width - min(cell_len(name), NAME_WIDTH) - BAR_WIDTH - PERCENT_WIDTH - 3
        self._progress.update(
            self._task,
            description=name,
            completed=step.progress,
            details=_fitting((*busy, *step.details), room),
            visible=True,
        )
        self._progress.refresh()


def _fitting(details: tuple[str, ...], room: int) -> str:
    """As many of the details as fit, the first ones first."""
    text = ""
    for detail in details:
        longer = f"{text}  {detail}" if text else detail
        if len(longer) > room:
            break
        text = longer
    return text
