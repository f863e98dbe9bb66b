"""A disk in memory that knows what was synced, so that its power can be cut.

Each file remembers, page by page, what lies on the platter below the writes that no fsync has covered
yet, and each folder the names that it had at its last fsync. This is stricter than any real file
system: an fsync of a file makes neither its name durable nor the folders above it.
"""

from __future__ import annotations

import random
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EEXIST, EISDIR, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY

PAGE = 4096


class Refused(Exception):
    """The disk says no. `args[0]` is the error number."""


@dataclass(eq=False)
class Node:
    """A file, folder, symlink or anything else that has a mode."""

    number: int
    mode: int
    links: int = 0
    changed: int = 0  # ctime, nanoseconds
    modified: int = 0  # mtime
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, Node] = field(default_factory=dict)
    durable_names: dict[bytes, Node] = field(default_factory=dict)
    durable_size: int = 0
    durable_times: tuple[int, int] = (0, 0)
    below: dict[int, bytes] = field(default_factory=dict)
    """What the platter has of the pages that were written since the last sync."""
    dropped: dict[int, bytes] = field(default_factory=dict)
    """The same of pages whose sync failed: the cache calls them clean, and they never get there."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def touch(self, *, modified: bool = True) -> None:
        self.changed = time.time_ns()
        if modified:
            self.modified = self.changed

    def read(self, offset: int, size: int) -> bytes:
        """What whoever has it not in his cache gets to see."""
        data = self.data[offset : offset + size]
        for page, old in self.dropped.items():
            start = max(page * PAGE, offset)
            end = min((page + 1) * PAGE, offset + len(data))
            if start < end:
                there = old.ljust(PAGE, b"\0")[start - page * PAGE : end - page * PAGE]
                data[start - offset : end - offset] = there
        return bytes(data)

    def keep(self, offset: int, length: int) -> None:
        """Remembers what the platter has of these bytes, before they are changed."""
        for page in range(offset // PAGE, (offset + length - 1) // PAGE + 1):
            if page not in self.below:
                old = self.dropped.pop(page, None)
                if old is None:
                    old = bytes(self.data[page * PAGE : (page + 1) * PAGE])
                self.below[page] = old

    def sync(self, *, times: bool) -> None:
        if self.is_folder:
            self.durable_names = dict(self.names)
            return
        self.below.clear()
        if times or len(self.data) != self.durable_size:
            self.durable_times = (self.changed, self.modified)
        self.durable_size = len(self.data)

    def fail_sync(self) -> None:
        """What a kernel does when the write-back fails: the pages count as clean from now on."""
        self.dropped.update(self.below)
        self.below.clear()

    def cut(self, torn: random.Random | None) -> None:
        """Back to the platter. With `torn`, each page and each size may have got there or not."""
        if self.is_folder:
            if torn is not None and torn.random() < 0.5:
                self.durable_names = dict(self.names)
            self.names = dict(self.durable_names)
            return
        size = self.durable_size
        if torn is not None and torn.random() < 0.5:
            size = len(self.data)
        self.data.extend(bytes(max(0, self.durable_size - len(self.data))))
        for page, old in (*self.dropped.items(), *self.below.items()):
            if torn is None or page in self.dropped or torn.random() < 0.5:
                here = self.data[page * PAGE : (page + 1) * PAGE]
                self.data[page * PAGE : page * PAGE + len(here)] = old.ljust(len(here), b"\0")[
                    : len(here)
                ]
        self.below.clear()
        self.dropped.clear()
        self.data.extend(bytes(max(0, size - len(self.data))))
        del self.data[size:]
        self.durable_size = size
        self.changed, self.modified = self.durable_times


class Model:
    """The tree of nodes. `space` is how many bytes fit, all files together."""

    def __init__(self, space: int) -> None:
        self.space = space
        self.used = 0
        self._count = 0
        self.root = self._make(stat.S_IFDIR | 0o755)
        self.root.links = 2

    def _make(self, mode: int) -> Node:
        self._count += 1
        node = Node(self._count, mode)
        node.touch()
        return node

    @staticmethod
    def look_up(folder: Node, name: bytes) -> Node:
        if not folder.is_folder:
            raise Refused(ENOTDIR)
        node = folder.names.get(name)
        if node is None:
            raise Refused(ENOENT)
        return node

    def make(self, folder: Node, name: bytes, mode: int, data: bytes = b"") -> Node:
        """A new node; `data` is where a symlink leads to."""
        if name in folder.names:
            raise Refused(EEXIST)
        node = self._make(mode)
        node.data.extend(data)
        node.durable_size = len(data)
        self.used += len(data)
        self.link(folder, name, node)
        return node

    @staticmethod
    def link(folder: Node, name: bytes, node: Node) -> None:
        if name in folder.names:
            raise Refused(EEXIST)
        folder.names[name] = node
        node.links += 2 if node.is_folder else 1
        node.touch(modified=False)
        folder.touch()

    def remove(self, folder: Node, name: bytes, *, is_folder: bool) -> None:
        node = self.look_up(folder, name)
        if node.is_folder != is_folder:
            raise Refused(EISDIR if node.is_folder else ENOTDIR)
        if node.names:
            raise Refused(ENOTEMPTY)
        del folder.names[name]
        node.links = 0 if is_folder else node.links - 1
        node.touch(modified=False)
        folder.touch()
        if not node.links and not is_folder:
            self.used -= len(node.data)

    def rename(self, source: Node, old: bytes, target: Node, new: bytes, *, replace: bool) -> None:
        node = self.look_up(source, old)
        there = target.names.get(new)
        if there is node:
            return
        if there is not None:
            if not replace:
                raise Refused(EEXIST)
            self.remove(target, new, is_folder=there.is_folder)
        del source.names[old]
        target.names[new] = node
        node.touch(modified=False)
        source.touch()
        target.touch()

    def write(self, node: Node, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        if end > len(node.data):
            self.resize(node, end)
        node.keep(offset, len(data))
        node.data[offset:end] = data
        node.touch()

    def resize(self, node: Node, size: int) -> None:
        grown = size - len(node.data)
        if grown > 0:
            if self.used + grown > self.space:
                raise Refused(ENOSPC)
            # What is new is a hole: until a sync, nothing of it is on the platter.
            node.keep(len(node.data), grown)
            node.data.extend(bytes(grown))
        elif grown < 0:
            node.keep(size, -grown)
            del node.data[size:]
        self.used += grown
        node.touch()

    def cut(self, torn: random.Random | None) -> None:
        """The power goes: what was not synced is lost. Nothing is left in any cache."""
        for node in list(self._nodes()):
            node.cut(torn)
        left = list(self._nodes())
        self.used = sum(len(node.data) for node in left)
        for node in left:
            node.links = 1 if node is self.root else 0
        for node in left:
            node.links += node.is_folder
            for child in node.names.values():
                child.links += 1

    def _nodes(self) -> Iterator[Node]:
        """All that can be reached, by its present name or by the durable one."""
        seen = {self.root}
        todo = [self.root]
        while todo:
            node = todo.pop()
            yield node
            new = {*node.names.values(), *node.durable_names.values()} - seen
            seen |= new
            todo.extend(new)
