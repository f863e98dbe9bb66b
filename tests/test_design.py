"""docs/design.md points at lines that exist and say what it says.

`python tests/test_design.py` writes the line numbers anew, where a name is defined once in its file.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "design.md"
TEXT = PAGE.read_text()
# `name` (path:line), or (`name`, path:line)
REFERENCE = re.compile(r"`(\w+)`,?\s*\(?([\w/.]+\.(?:py|pyx|rs)):(\d+)\)")


def defines(line: str, name: str) -> bool:
    return bool(re.search(rf"\b(def|cdef|fn|class|property)\b.*\b{name}\b", line))


def test_line_references_are_true() -> None:
    found = REFERENCE.findall(TEXT)
    assert len(found) == len(re.findall(r"\.(?:py|pyx|rs):\d+", TEXT)), "one is written unusually"
    for name, path, number in found:
        lines = (ROOT / path).read_text().splitlines()
        line = lines[int(number) - 1] if int(number) <= len(lines) else ""
        assert defines(line, name), f"{path}:{number} is not {name}"


def test_named_files_exist() -> None:
    for path in re.findall(r"\b((?:swarm|ext|rust|bench|tests)/[\w/.]*\w)", TEXT):
        assert (ROOT / path).exists(), path


def renew(match: re.Match[str]) -> str:
    """The reference with the line that its name is defined in now; unchanged where that is unclear."""
    name, path, number = match.groups()
    lines = (ROOT / path).read_text().splitlines()
    found = [at for at, line in enumerate(lines, 1) if defines(line, name)]
    if len(found) != 1:
        return match[0]
    return match[0].removesuffix(f"{number})") + f"{found[0]})"


if __name__ == "__main__":
    PAGE.write_text(REFERENCE.sub(renew, TEXT))
