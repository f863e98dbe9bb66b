"""What `import swarm` gives, and what it costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import swarm

ROOT = Path(__file__).parents[1]


def in_python(code: str) -> dict[str, object]:
    """The last line that `code` prints in a fresh interpreter, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [name for name in swarm.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name):
    value = getattr(swarm, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value) and value.__doc__ is not None:
        assert not value.__doc__.startswith(f"{value.__name__}("), "what dataclass wrote"
    assert name in dir(swarm)


def test_names_are_listed_once_and_in_order():
    names = [name for name in swarm.__all__ if name != "__version__"]
    assert names == sorted(set(names))
    with pytest.raises(AttributeError, match="nonsense"):
        swarm.nonsense  # noqa: B018


def test_type_checkers_see_the_same_names():
    source = (ROOT / "swarm/__init__.py").read_text()
    seen = {
        line.split(" as ")[1]
        for line in source.splitlines()
        if " import " in line and " as " in line
    }
    assert seen == set(swarm.__all__) - {"__version__"}


def test_every_error_is_a_swarm_error_and_a_builtin():
    for name in swarm.__all__:
        value = getattr(swarm, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            assert issubclass(value, swarm.SwarmError)


@pytest.mark.parametrize(
    ("use", "heavy"),
    [
        ("", ["asyncio", "aiohttp", "rich", "msgspec", "uvloop", "swarm._native"]),
        ("swarm.SwarmError", ["asyncio", "aiohttp", "rich"]),
        ("swarm.Metainfo", ["aiohttp", "rich", "asyncio"]),
        ("swarm.Session", ["aiohttp", "rich", "uvloop"]),
    ],
)
def test_imports_are_lazy(use, heavy):
    code = f"import sys, json, swarm\n{use}\nprint(json.dumps([m for m in {heavy} if m in sys.modules]))"
    assert in_python(code) == []


def test_importing_takes_no_time():
    """CPU time, the least of five: another process may have had the caches."""
    code = (
        "import time; t = time.process_time(); import swarm; "
        "print(__import__('json').dumps(time.process_time() - t))"
    )
    assert min(float(str(in_python(code))) for _ in range(5)) < 0.1
