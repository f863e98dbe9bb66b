"""The process behind a faulty mount: `faults.server MOUNTPOINT SPACE CONTROL` (a socket's descriptor).

It serves one mount of a `Model` after the other, and takes orders as lines of JSON. One thread does
everything, so that what happens in which order is what the kernel asks in which order. It ends, and
takes the mount with it, when the other end of the control socket is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from errno import EINTR, EIO
from itertools import count
from typing import Any

from .model import Model, Refused
from .rules import Rule
from .tree import Answer, Tree
from .wire import MAX_WRITE, SILENT, U64, WRITE, WRITTEN, Op, Request, reply

libc = ctypes.CDLL(None, use_errno=True)
NOSUID_NODEV = 2 | 4
DETACH = 2
NAMES = {op.value: op.name.lower() for op in Op}


class Server:
    """Kernel on one side, orders on the other, a model between them."""

    def __init__(self, mountpoint: str, space: int, control: socket.socket) -> None:
        self.model = Model(space)
        self.tree = Tree(self.model)
        self.rules: dict[int, Rule] = {}
        self.counts: Counter[str] = Counter()
        self._mountpoint = mountpoint
        self._control = control
        self._lines = control.makefile("rb")
        self._fuse = -1
        self._held: dict[int, Request] = {}  # hanging, and not done yet
        self._done: dict[int, Answer] = {}  # hanging, but done
        self._late: list[tuple[float, int, int, Answer]] = []
        self._numbers = count(1)
        self._buffer = memoryview(bytearray(MAX_WRITE + (64 << 10)))
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._obey)

    # ------------------------------------------------------------ power

    def boot(self) -> None:
        """Mounts what the platter has."""
        self.halt()
        self.tree = Tree(self.model)
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = f"fd={self._fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
        target = os.fsencode(self._mountpoint)
        if libc.mount(b"faulty", target, b"fuse", NOSUID_NODEV, options.encode()):
            error = ctypes.get_errno()
            os.close(self._fuse)
            self._fuse = -1
            raise OSError(error, f"cannot mount: {os.strerror(error)}")
        self._selector.register(self._fuse, selectors.EVENT_READ, self._serve)

    def halt(self) -> None:
        """Unmounts. Whoever waits for an answer gets an error; what was written stays as it is."""
        if self._fuse >= 0:
            self._off()
            libc.umount2(os.fsencode(self._mountpoint), DETACH)

    def _off(self) -> None:
        """From here on the kernel finds nobody."""
        if self._fuse >= 0:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._fuse)
                os.close(self._fuse)
        self._held.clear()
        self._done.clear()
        self._late.clear()

    # ------------------------------------------------------------ requests

    def run(self) -> None:
        while True:
            wait = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            for key, _ in self._selector.select(wait):
                key.data()
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, unique, answer = heapq.heappop(self._late)
                self._say(reply(unique, answer))

    def _serve(self) -> None:
        while True:
            try:
                size = os.readv(self._fuse, [self._buffer])
            except BlockingIOError:
                return
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == 2:  # the asker has given up before we saw it
                    continue
                self._off()  # unmounted by somebody else
                return
            fuse = self._fuse
            self._take(Request.parse(self._buffer[:size]))
            if self._fuse != fuse or fuse not in self._selector.get_map():
                return

    def _take(self, request: Request) -> None:
        if request.op in SILENT:
            if request.op == Op.INTERRUPT:
                self._interrupt(U64.unpack_from(request.body)[0])
            return
        self.counts[NAMES.get(request.op, "other")] += 1
        path = self.tree.path(request) if self.rules else ""
        for rule in self.rules.values():
            if rule.hits(request, path):
                self._spoil(request, rule)
                return
        self._say(self._perform(request))

    def _perform(self, request: Request) -> list[Answer]:
        try:
            return reply(request.unique, self.tree.answer(request))
        except Refused as refused:
            return reply(request.unique, errno=refused.args[0])

    def _spoil(self, request: Request, rule: Rule) -> None:
        unique = request.unique
        if rule.errno:
            if rule.lose:
                self.tree.nodes[request.node].fail_sync()
            self._say(reply(unique, errno=rule.errno))
        elif rule.short:
            self._say(self._write_short(request, rule.short))
        elif rule.delay:
            body = self.tree.answer(request)
            due = time.monotonic() + rule.delay
            heapq.heappush(self._late, (due, next(self._numbers), unique, body))
        elif rule.hang and rule.after:
            self._done[unique] = self.tree.answer(request)
        elif rule.hang:
            self._held[unique] = request._replace(body=memoryview(bytes(request.body)))
        else:
            answer = self._perform(request) if rule.after else reply(unique, errno=EIO)
            if rule.cut:
                self.model.cut(rule.chance)
                self._kill(request.pid)
                self._off()
            else:
                self._kill(request.pid)
                self._say(answer)

    @staticmethod
    def _kill(pid: int) -> None:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _write_short(self, request: Request, size: int) -> list[Answer]:
        offset = WRITE.unpack_from(request.body)[1]
        data = request.body[WRITE.size :][:size]
        self.model.write(self.tree.nodes[request.node], offset, data)
        return reply(request.unique, WRITTEN.pack(len(data), 0))

    def _interrupt(self, unique: int) -> None:
        if self._held.pop(unique, None) or self._done.pop(unique, None) is not None:
            self._say(reply(unique, errno=EINTR))

    def _say(self, buffers: list[Answer]) -> None:
        with contextlib.suppress(FileNotFoundError):  # the asker was killed
            os.writev(self._fuse, buffers)

    # ------------------------------------------------------------ orders

    def _obey(self) -> None:
        line = self._lines.readline()
        if not line:
            self.halt()
            sys.exit()
        order = json.loads(line)
        try:
            answer = getattr(self, f"order_{order.pop('order')}")(**order)
        except OSError as error:
            answer = {"error": str(error)}
        self._control.sendall(json.dumps(answer).encode() + b"\n")

    def order_fault(self, **facts: Any) -> int:
        number = next(self._numbers)
        self.rules[number] = Rule.parse(facts)
        return number

    def order_fired(self, rule: int) -> int:
        return self.rules[rule].fired

    def order_heal(self) -> None:
        """No faults from here on; what hangs goes on."""
        self.rules.clear()
        held, self._held = self._held, {}
        done, self._done = self._done, {}
        for request in held.values():
            self._say(self._perform(request))
        for unique, answer in done.items():
            self._say(reply(unique, answer))

    def order_cut(self, torn: int | None = None) -> None:
        rule = Rule(op="write", cut=True, torn=torn)
        self.model.cut(rule.chance)
        self._off()

    def order_off(self) -> None:
        """The connection to the disk is gone, as that to an unplugged one: ENOTCONN."""
        self._off()

    def order_boot(self) -> None:
        self.rules.clear()
        self.boot()

    def order_halt(self) -> None:
        self.halt()

    def order_wipe(self) -> None:
        """An empty disk, mounted."""
        self.rules.clear()
        self.halt()
        self.model = Model(self.model.space)
        self.boot()

    def order_space(self, size: int) -> None:
        self.model.space = size

    def order_used(self) -> int:
        return self.model.used

    def order_counts(self) -> dict[str, int]:
        return dict(self.counts)


if __name__ == "__main__":
    mountpoint, space, descriptor = sys.argv[1:]
    Server(mountpoint, int(space), socket.socket(fileno=int(descriptor))).run()
