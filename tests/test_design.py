"""docs/design.md points at lines that exist and say what it says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "design.md").read_text()
# `name` (path:line), or (`name`, path:line)
REFERENCE = re.compile(r"`(\w+)`,?\s*\(?([\w/.]+\.(?:py|pyx|rs)):(\d+)\)")


def test_line_references_are_true() -> None:
    found = REFERENCE.findall(TEXT)
    assert len(found) == len(re.findall(r"\.(?:py|pyx|rs):\d+", TEXT)), "one is written unusually"
    for name, path, number in found:
        lines = (ROOT / path).read_text().splitlines()
        line = lines[int(number) - 1] if int(number) <= len(lines) else ""
        assert re.search(rf"\b(def|cdef|fn|class|property)\b.*\b{name}\b", line), (
            f"{path}:{number} is not {name}"
        )


def test_named_files_exist() -> None:
    for path in re.findall(r"\b((?:swarm|ext|rust|bench|tests)/[\w/.]*\w)", TEXT):
        assert (ROOT / path).exists(), path
