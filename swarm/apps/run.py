"""Runs a command's coroutine: the event loop, and what signals do to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from .output import is_live, note

GRACE = 5.0
"""Seconds after the first signal until we leave whatever happens. A session takes 3 at most."""
PATIENCE = 0.3
"""Seconds after the first signal until we say that we are still at it."""
_SHOW_CURSOR = b"\x1b[?25h"


def run(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `job` on uvloop where there is one.

    The first SIGINT, SIGTERM or SIGHUP cancels the job, which saves and leaves; then the process
    dies by that signal, so that a shell's loop stops as well. A second one kills at once.
    """
    loop = _new_event_loop()
    try:
        loop.run_until_complete(_supervised(loop, job))
    finally:
        # asyncio.run() would also join the threads of its executor, and a name look-up that hangs
        # in one of them can hold that up for half a minute.
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def die(signum: int) -> NoReturn:
    """Ends this process by a signal, as if it had never been caught."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _supervised(
    loop: asyncio.AbstractEventLoop, job: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    task = loop.create_task(job())
    caught: list[int] = []

    def on_signal(signum: int) -> None:
        caught.append(signum)
        for number in leaving_signals():  # from here on the kernel's own answer: a second one kills
            _unhandle(loop, number)
        if is_live():
            os.write(2, _SHOW_CURSOR)  # past whatever a bar has put in place of sys.stderr
        loop.call_later(PATIENCE, note, "stopping; once more to leave at once")
        loop.call_later(GRACE, die, signum)
        task.cancel()

    handled = [number for number in leaving_signals() if _handle(loop, number, on_signal)]
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
    finally:
        if not caught:
            for number in handled:
                loop.remove_signal_handler(number)
    if caught:
        die(caught[0])


def leaving_signals() -> list[int]:
    """The signals that ask us to leave; not those that our starter (nohup, `&`) had ignored."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _handle(loop: asyncio.AbstractEventLoop, signum: int, callback: Callable[[int], None]) -> bool:
    """Installs a handler. False where the loop cannot, and the plain kind was taken (Windows)."""
    try:
        loop.add_signal_handler(signum, callback, signum)
    except NotImplementedError:
        signal.signal(signum, lambda number, _: loop.call_soon_threadsafe(callback, number))
        return False
    return True


def _unhandle(loop: asyncio.AbstractEventLoop, signum: int) -> None:
    with contextlib.suppress(NotImplementedError):
        loop.remove_signal_handler(signum)
    signal.signal(signum, signal.SIG_DFL)
