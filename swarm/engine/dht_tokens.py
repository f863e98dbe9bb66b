"""Write tokens: who announces has to have asked before, from the same address (BEP 5)."""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

SIZE = 8
STEP = 300.0
"""Seconds after which tokens are made anew; the ones before that still count."""


class Tokens:
    """Makes tokens and knows its own. A keyed hash, so that no flood of questions pushes one out."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, host: str, now: float) -> bytes:
        """The token for whoever asks from this host."""
        return self._at(host, int(now // STEP))

    def holds(self, token: bytes, host: str, now: float) -> bool:
        """Whether this token was given to this host, at most ten minutes ago."""
        step = int(now // STEP)
        return any(compare_digest(token, self._at(host, step - age)) for age in (0, 1))

    def _at(self, host: str, step: int) -> bytes:
        mark = step.to_bytes(8, "big", signed=True) + host.encode()
        return blake2b(mark, digest_size=SIZE, key=self._secret).digest()
