"""What other processes say: lines of JSON."""

from __future__ import annotations

import json
import os
import select
import time
from typing import IO, Any


class Lines:
    """The lines of one stream, with a time-out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pending = b""

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next line; None when there was none in so many seconds."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if not select.select([self._stream], [], [], max(0.0, left))[0]:
                return None
            data = os.read(self._stream.fileno(), 1 << 16)
            if not data:
                raise RuntimeError("a process of ours has ended")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return dict(json.loads(line))
