"""The part of the kernel's FUSE protocol (7.31, <linux/fuse.h>) that a small file system needs."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_WRITE = 1 << 20
IN_HEADER = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, -
OUT_HEADER = struct.Struct("<IiQ")  # length, -errno, unique
ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
ENTRY = struct.Struct("<QQQQII")  # node, generation, and how long name and attributes stay valid
ATTR_VALID = struct.Struct("<QII")
OPENED = struct.Struct("<QII")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
READ = struct.Struct("<QQIIQII")  # handle, offset, size, flags, lock owner, open flags, -
WRITE = struct.Struct("<QQIIQII")
WRITTEN = struct.Struct("<II")
SETATTR = struct.Struct("<IIQQQQQQIIIIIIII")
FSYNC = struct.Struct("<QII")
FALLOCATE = struct.Struct("<QQQII")
STATFS = struct.Struct("<QQQQQIIII24x")
DIRENT = struct.Struct("<QQII")
U32_2 = struct.Struct("<II")
U32_4 = struct.Struct("<IIII")
U64 = struct.Struct("<Q")
RENAME2 = struct.Struct("<QII")

ASYNC_READ, BIG_WRITES, MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
SET_MODE, SET_SIZE, SET_MTIME, SET_MTIME_NOW = 1 << 0, 1 << 3, 1 << 5, 1 << 8
KEEP_CACHE = 1 << 1
"""Pages stay in the page cache when a file is opened again, as those of any local file do."""
DATA_ONLY = 1
NO_REPLACE = 1


class Op(IntEnum):
    """What the kernel asks for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


SILENT = {Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.DESTROY}
"""What gets no answer."""


class Request(NamedTuple):
    """One question of the kernel. `pid` is the thread that made it, or 0."""

    op: int
    unique: int
    node: int
    pid: int
    body: memoryview

    @classmethod
    def parse(cls, data: memoryview) -> Request:
        length, op, unique, node, _, _, pid, _ = IN_HEADER.unpack_from(data)
        return cls(op, unique, node, pid, data[IN_HEADER.size : length])

    def names(self, skip: int) -> list[bytes]:
        """The names that follow the first `skip` bytes."""
        return bytes(self.body[skip:]).split(b"\0")[:-1]


def reply(unique: int, body: bytes | memoryview = b"", errno: int = 0) -> list[bytes | memoryview]:
    """An answer, as the buffers of one write."""
    if errno:
        return [OUT_HEADER.pack(OUT_HEADER.size, -errno, unique)]
    return [OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique), body]
