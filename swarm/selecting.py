"""How one torrent follows a change of what is wanted: the engine at once, then the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .engine.selection import Priority, Selection
from .engine.torrent import Torrent as Engine
from .errors import TorrentRemoved

if TYPE_CHECKING:
    from .runner import Runner


class Selecting:
    """What is wanted of one torrent, and who has to know."""

    def __init__(self, runner: Runner) -> None:
        self.selection = runner.selection
        self.everything = Selection(runner.meta)
        """All files, whatever is wanted, for what is told of the whole torrent."""
        self._runner = runner

    @property
    def finished(self) -> bool:
        """Whether all that is wanted is here."""
        return self.selection.done(self._runner.have) == self.selection.length

    async def change(
        self, priorities: Mapping[int, Priority], *, sequential: bool | None = None
    ) -> None:
        """Wants something else, at once; returns when that is durable, and files are where they belong.

        Raises `TorrentRemoved`, and `StorageError` where it could not be made so, or where it does
        not fit on the disk. Giving up the wait does not call it off.
        """
        runner = self._runner
        if runner.removed:
            raise TorrentRemoved(f"{runner.meta.name}: removed, or its session was closed")
        self.selection.set(priorities)
        if sequential is not None:
            self.selection.sequential = sequential
        runner.tell()  # whoever waits looks again at what is done
        if runner.engine is not None:
            self.arrange(runner.engine)
            runner.work()
            runner.session.settle()
            runner.arm()
        following = runner.spawn(self._follow())
        following.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait([following])
        if not following.cancelled():  # by a stop, which does what is left of it
            following.result()

    def arrange(self, engine: Engine) -> None:
        """Has the engine fetch what is wanted, in the order that is wanted."""
        engine.arrange(self.selection.ranks(), sequential=self.selection.sequential)

    async def _follow(self) -> None:
        storing = self._runner.storing
        await storing.remember()
        await storing.want()
        if self._runner.engine is not None:
            await storing.make_room()
