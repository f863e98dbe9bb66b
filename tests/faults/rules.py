"""Faults to order: which request they wait for, and what they do to it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .wire import Op, Request

GROUPS = {
    "fsync": (Op.FSYNC, Op.FSYNCDIR),
    "rename": (Op.RENAME, Op.RENAME2),
    "open": (Op.OPEN, Op.CREATE),
    "change": (
        *(Op.WRITE, Op.FSYNC, Op.FSYNCDIR, Op.RENAME, Op.RENAME2, Op.CREATE, Op.MKDIR),
        *(Op.LINK, Op.UNLINK, Op.RMDIR, Op.SETATTR, Op.FALLOCATE, Op.SYMLINK, Op.MKNOD),
    ),
}
"""Operations by other names than the kernel's."""


@dataclass(kw_only=True)
class Rule:
    """A fault for the requests of a kind: the first `skip` pass, `times` are hit (None: all).

    Exactly one thing is done to them: `errno` refuses, `short` takes only so many bytes of a write,
    `delay` answers after so many seconds, `hang` answers when told to, `kill` ends the process that
    asked with SIGKILL, and `cut` takes the power away (and kills). `after`: once it has been done;
    otherwise before, instead of doing it.
    """

    op: str
    path: str = "*"
    skip: int = 0
    times: int | None = 1
    errno: int = 0
    lose: bool = False
    """A failing fsync drops what was to be synced, as Linux does (fsyncgate)."""
    short: int = 0
    delay: float = 0.0
    hang: bool = False
    kill: bool = False
    cut: bool = False
    torn: int | None = None
    """Seed of what gets to the platter all the same. None: nothing does."""
    after: bool = False
    fired: int = 0

    def __post_init__(self) -> None:
        given = (self.errno, self.short, self.delay, self.hang, self.kill, self.cut)
        if sum(map(bool, given)) != 1:
            raise ValueError("a rule does one thing")
        self._ops = GROUPS.get(self.op) or (Op[self.op.upper()],)

    @classmethod
    def parse(cls, facts: dict[str, Any]) -> Rule:
        return cls(**facts)

    def hits(self, request: Request, path: str) -> bool:
        """Whether it is this one's turn."""
        if request.op not in self._ops or self.times == 0 or not fnmatchcase(path, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.fired += 1
        return True

    @property
    def chance(self) -> random.Random | None:
        return None if self.torn is None else random.Random(self.torn)
