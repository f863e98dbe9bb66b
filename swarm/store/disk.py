"""The disk as Python sees it: jobs go down to the threads, callbacks come back on the loop.

Completions arrive on one descriptor. Attached to a loop they are dispatched as they come; without
one, whoever owns the `Disk` calls `drain`. Callbacks run inside `drain`, on the caller's thread.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

from swarm import _native
from swarm.proto.metainfo import Metainfo
from swarm.settings import Allocation, Direct

from .places import Places, Survey
from .storage import Handler, Storage


class Disk:
    """Threads for hashing and files, shared by all torrents.

    `threads=0` runs every job inside `drain`. `read_memory` is in bytes: the slots of reads that
    were not dropped yet; above it, reads wait. `direct` and
    `allocation` are as in `Settings`; "full" takes an `allocate` as well.
    """

    def __init__(
        self,
        *,
        threads: int,
        read_memory: int,
        direct: Direct = "auto",
        allocation: Allocation = "sparse",
    ) -> None:
        self._native = _native.Disk(threads, read_memory, direct, allocation != "none")
        self._numbers = itertools.count()
        self._handlers: dict[int, Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `loop` call `drain` whenever completions wait."""
        self.detach()
        loop.add_reader(self._native.fileno(), self.drain)
        self._loop = loop

    def detach(self) -> None:
        """Take leave of the loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._native.fileno())
        self._loop = None

    def close(self) -> None:
        """Finish queued jobs, join the threads and dispatch what is left. Idempotent."""
        self.detach()
        self._native.close()
        self.drain()

    async def aclose(self) -> None:
        """`close` on a loop: the threads are joined off it, callbacks stay on it."""
        await asyncio.to_thread(self._native.close)
        self.close()

    def fileno(self) -> int:
        """A descriptor that is readable while completions wait."""
        return self._native.fileno()

    def hurry(self) -> None:
        """Somebody waits for a slot: no part waits for others to be hashed with any more."""
        self._native.hurry()

    def drain(self) -> None:
        """Dispatch all completions. A callback that raises does not keep the others from theirs."""
        errors = []
        for completion in self._native.drain():
            job: int = completion[0]
            more = completion[1] in ("checked", "moved")
            handler = self._handlers.get(job) if more else self._handlers.pop(job, None)
            if handler is not None:
                try:
                    handler(completion)
                except Exception as error:
                    errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("callbacks of disk jobs failed", errors)

    def open(
        self,
        meta: Metainfo,
        where: Path | Places,
        *,
        writable: bool,
        make_parts: bool = False,
        found: Survey | None = None,
    ) -> Storage:
        """The files of `meta` in a folder, or in their places. Touches nothing yet.

        With `make_parts` they are made under their part names, until `finish`. Where a move was cut
        short, `found` says which files are where.
        """
        places = where if isinstance(where, Places) else Places(meta.files, where)
        return Storage(self, meta, places, found, writable, make_parts)

    def _expect(self, handler: Handler, submit: Callable[[int], None]) -> int:
        job = next(self._numbers)
        self._handlers[job] = handler
        try:
            submit(job)
        except BaseException:
            del self._handlers[job]
            raise
        return job
