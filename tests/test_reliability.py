"""docs/reliability.md names tests that are there, and that say which row they are about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/reliability.md").read_text()
ROWS = re.findall(r"^\| ([A-Z]{2}-\d\d) \| .* \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("row", "said"), ROWS, ids=[row for row, _ in ROWS])
def test_the_tests_of_a_row(row, said):
    paths = [TESTS / name for name in re.findall(r"`(\w+/test_\w+\.py)`", said)]
    assert paths or said[0].islower(), "a test, or a reason why there is none"
    name = row.replace("-", "").lower()
    for path in paths:
        text = path.read_text()
        assert name in text or row in text, f"{path} does not name {row}"


def test_every_row_is_there():
    rows = [row for row, _ in ROWS]
    for kind, last in (("RS", 14), ("FS", 23), ("DH", 22)):
        assert [row for row in rows if row.startswith(kind)] == [
            f"{kind}-{number:02}" for number in range(1, last + 1)
        ]
