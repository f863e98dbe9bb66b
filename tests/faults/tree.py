"""Answers the kernel's questions about a `Model`. Knows nothing of faults."""

from __future__ import annotations

import stat
from collections.abc import Callable
from errno import EINVAL, ENOENT, ENOSYS

from .model import PAGE, Model, Node, Refused
from .wire import (
    ASYNC_READ,
    ATTR,
    ATTR_VALID,
    BIG_WRITES,
    DATA_ONLY,
    DIRENT,
    ENTRY,
    FALLOCATE,
    FSYNC,
    INIT_IN,
    INIT_OUT,
    KEEP_CACHE,
    MAX_PAGES,
    MAX_WRITE,
    NO_REPLACE,
    OPENED,
    READ,
    RENAME2,
    SET_MODE,
    SET_MTIME,
    SET_MTIME_NOW,
    SET_SIZE,
    SETATTR,
    STATFS,
    U32_2,
    U32_4,
    U64,
    WRITE,
    WRITTEN,
    Op,
    Request,
)

NAME_MAX = 255
Answer = bytes | memoryview


class Tree:
    """One mount of a model. What the kernel was told lives until the next mount."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: dict[int, Node] = {1: model.root}
        self.paths: dict[int, str] = {1: ""}
        self._answers: dict[int, Callable[[Request], Answer]] = {
            Op.INIT: self._init,
            Op.LOOKUP: lambda r: self._entry(r, self._child(r, 0)),
            Op.GETATTR: lambda r: self._attr(self.nodes[r.node]),
            Op.SETATTR: self._setattr,
            Op.READLINK: lambda r: bytes(self.nodes[r.node].data),
            Op.SYMLINK: self._symlink,
            Op.MKNOD: lambda r: self._make(r, 16, U32_4.unpack_from(r.body)[0]),
            Op.MKDIR: lambda r: self._make(r, 8, U32_2.unpack_from(r.body)[0] | stat.S_IFDIR),
            Op.CREATE: self._create,
            Op.UNLINK: lambda r: self._remove(r, is_folder=False),
            Op.RMDIR: lambda r: self._remove(r, is_folder=True),
            Op.RENAME: self._rename,
            Op.RENAME2: self._rename,
            Op.LINK: self._link,
            Op.OPEN: lambda r: OPENED.pack(0, KEEP_CACHE, 0),
            Op.OPENDIR: lambda r: OPENED.pack(0, 0, 0),
            Op.RELEASE: lambda r: b"",
            Op.RELEASEDIR: lambda r: b"",
            Op.FLUSH: lambda r: b"",
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.FALLOCATE: self._fallocate,
            Op.FSYNC: self._fsync,
            Op.FSYNCDIR: self._fsync,
            Op.READDIR: self._readdir,
            Op.STATFS: self._statfs,
        }

    def answer(self, request: Request) -> Answer:
        """Does what was asked for. Raises `Refused`."""
        answer = self._answers.get(request.op)
        if answer is None:
            raise Refused(ENOSYS)
        if request.op != Op.INIT and request.node not in self.nodes:
            raise Refused(ENOENT)
        return answer(request)

    def path(self, request: Request) -> str:
        """What the request is about, from the root of the mount."""
        path = self.paths.get(request.node, "")
        skip = _NAME_AT.get(request.op)
        if skip is not None:
            path = f"{path}/{request.names(skip)[0].decode()}"
        return path.lstrip("/")

    def _init(self, request: Request) -> bytes:
        _, _, readahead, flags = INIT_IN.unpack_from(request.body)
        flags &= ASYNC_READ | BIG_WRITES | MAX_PAGES
        pages = MAX_WRITE // PAGE
        return INIT_OUT.pack(7, 31, readahead, flags, 64, 48, MAX_WRITE, 1, pages, 0, 0)

    def _child(self, request: Request, skip: int) -> Node:
        return self.model.look_up(self.nodes[request.node], request.names(skip)[0])

    def _entry(self, request: Request, node: Node) -> bytes:
        number = node.number
        self.nodes[number] = node
        self.paths[number] = self.path(request)
        return ENTRY.pack(number, 0, 0, 0, 0, 0) + self._pack(node)

    def _attr(self, node: Node) -> bytes:
        return ATTR_VALID.pack(0, 0, 0) + self._pack(node)

    @staticmethod
    def _pack(node: Node) -> bytes:
        size = 0 if node.is_folder else len(node.data)
        modified, modified_ns = divmod(node.modified, 10**9)
        changed, changed_ns = divmod(node.changed, 10**9)
        return ATTR.pack(
            *(node.number, size, -(-size // 512), modified, modified, changed),
            *(modified_ns, modified_ns, changed_ns, node.mode, node.links),
            *(0, 0, 0, PAGE, 0),
        )

    def _setattr(self, request: Request) -> bytes:
        node = self.nodes[request.node]
        fields = SETATTR.unpack_from(request.body)
        valid, size, mtime, mtime_ns, mode = fields[0], fields[3], fields[6], fields[9], fields[11]
        if valid & SET_MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if valid & SET_SIZE:
            self.model.resize(node, size)
        if valid & SET_MTIME and not valid & SET_MTIME_NOW:
            node.modified = mtime * 10**9 + mtime_ns
        node.touch(modified=bool(valid & SET_MTIME_NOW))
        return self._attr(node)

    def _make(self, request: Request, skip: int, mode: int) -> bytes:
        name = request.names(skip)[0]
        node = self.model.make(self.nodes[request.node], name, mode)
        return self._entry(request, node)

    def _create(self, request: Request) -> bytes:
        mode = U32_4.unpack_from(request.body)[1]
        return self._make(request, 16, mode | stat.S_IFREG) + OPENED.pack(0, KEEP_CACHE, 0)

    def _symlink(self, request: Request) -> bytes:
        name, target = request.names(0)
        node = self.model.make(self.nodes[request.node], name, stat.S_IFLNK | 0o777, target)
        return self._entry(request, node)

    def _remove(self, request: Request, *, is_folder: bool) -> bytes:
        self.model.remove(self.nodes[request.node], request.names(0)[0], is_folder=is_folder)
        return b""

    def _rename(self, request: Request) -> bytes:
        plain = request.op == Op.RENAME
        skip = U64.size if plain else RENAME2.size
        target = U64.unpack_from(request.body)[0]
        flags = 0 if plain else RENAME2.unpack_from(request.body)[1]
        if flags & ~NO_REPLACE:
            raise Refused(EINVAL)
        old, new = request.names(skip)
        source, folder = self.nodes[request.node], self.nodes[target]
        node = self.model.look_up(source, old)
        self.model.rename(source, old, folder, new, replace=not flags)
        self.paths[node.number] = f"{self.paths[target]}/{new.decode()}".lstrip("/")
        return b""

    def _link(self, request: Request) -> bytes:
        node = self.nodes[U64.unpack_from(request.body)[0]]
        self.model.link(self.nodes[request.node], request.names(U64.size)[0], node)
        return self._entry(request, node)

    def _read(self, request: Request) -> Answer:
        _, offset, size, *_ = READ.unpack_from(request.body)
        return self.nodes[request.node].read(offset, size)

    def _write(self, request: Request) -> bytes:
        _, offset, size, *_ = WRITE.unpack_from(request.body)
        data = request.body[WRITE.size : WRITE.size + size]
        self.model.write(self.nodes[request.node], offset, data)
        return WRITTEN.pack(size, 0)

    def _fallocate(self, request: Request) -> bytes:
        _, offset, length, mode, _ = FALLOCATE.unpack_from(request.body)
        node = self.nodes[request.node]
        if mode not in (0, 1):  # plain, or without a new size
            raise Refused(ENOSYS)
        if not mode and offset + length > len(node.data):
            self.model.resize(node, offset + length)
        return b""

    def _fsync(self, request: Request) -> bytes:
        flags = FSYNC.unpack_from(request.body)[1]
        self.nodes[request.node].sync(times=not flags & DATA_ONLY)
        return b""

    def _readdir(self, request: Request) -> bytes:
        _, offset, size, *_ = READ.unpack_from(request.body)
        node = self.nodes[request.node]
        answer = bytearray()
        entries = [(b".", node), (b"..", node), *node.names.items()]
        for at, (name, child) in enumerate(entries[offset:], offset + 1):
            kind = stat.S_IFMT(child.mode) >> 12
            entry = DIRENT.pack(child.number, at, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return bytes(answer)

    def _statfs(self, request: Request) -> bytes:
        total = self.model.space // PAGE
        free = max(0, self.model.space - self.model.used) // PAGE
        return STATFS.pack(total, free, free, 1 << 20, 1 << 20, PAGE, NAME_MAX, PAGE, 0)


_NAME_AT = {
    Op.LOOKUP: 0,
    Op.SYMLINK: 0,
    Op.MKNOD: 16,
    Op.MKDIR: 8,
    Op.CREATE: 16,
    Op.UNLINK: 0,
    Op.RMDIR: 0,
    Op.RENAME: U64.size,
    Op.RENAME2: RENAME2.size,
    Op.LINK: U64.size,
}
"""Where the name starts in requests that have one, beside the folder that they are about."""
