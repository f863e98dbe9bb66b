"""The layers hold: every module imports only what stands below it (docs/design.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "swarm"

LEAVES = {"swarm.errors", "swarm.settings", "swarm.units"}
CODECS = {"swarm._bencode", "swarm._bits", "swarm._fill", "swarm._wire"}
SESSION_NAMES = """announcing blocking checking claims events finding finishing limiting make matching
    metainfo moving peering report runner selecting session storing torrent tracker tree
    turns"""
SESSION = {f"swarm.{name}" for name in SESSION_NAMES.split()}
# What a module of each layer may import of swarm, by prefix.
INSIDE = {
    "leaves": LEAVES,
    "proto": LEAVES | {"swarm.proto", "swarm._bencode"},
    "engine": LEAVES | CODECS | {"swarm.proto", "swarm.engine"},
    "net": LEAVES | {"swarm.proto", "swarm.net", "swarm._wire"},
    "store": LEAVES | {"swarm.proto", "swarm.store", "swarm._native"},
    "session": LEAVES
    | CODECS
    | SESSION
    | {"swarm._native", "swarm.proto", "swarm.engine", "swarm.net", "swarm.store"},
    "testing": {"swarm"},
    "bench": {"swarm"},
    "apps": {"swarm.apps", "swarm.bench", "swarm.units"},
}
PURE = {"asyncio", "socket", "ssl", "os", "time", "threading", "select", "pathlib", "secrets"}
# What a pure layer may not even reach for in the standard library.
FORBIDDEN = {
    "leaves": PURE - {"os"},
    "proto": PURE,
    "engine": PURE,
    "net": {"threading", "pathlib"},
    "store": {"socket", "ssl", "time"},
}
THIRD_PARTY = {
    "proto": set(),
    "engine": set(),
    "net": {"aiohttp", "h11"},
    "store": {"msgspec"},
    "session": {"msgspec", "platformdirs"},
    "leaves": set(),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    if len(parts) == 1 or module == "swarm.__main__":
        return None  # the package itself: names only, loaded lazily
    if parts[1] in INSIDE:
        return parts[1]
    if module in LEAVES:
        return "leaves"
    return "session" if module in SESSION else f"unknown: {module}"


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Every import, in functions and for type checkers too, as an absolute dotted name."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if is_module(inner) else base), node.lineno


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return (
        path.with_suffix(".py").exists()
        or path.with_suffix(".pyi").exists()
        or (path / "__init__.py").exists()
    )


def allowed(name: str, among: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in among)


MODULES = list(modules())


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_module_imports_only_what_is_below_it(module: str, path: Path) -> None:
    layer = layer_of(module)
    if layer is None:
        return
    assert layer in INSIDE, f"{module} stands in no layer: add it to the table, or move it"
    for name, line in imports(module, path):
        where = f"{path.name}:{line} imports {name}"
        root = name.split(".")[0]
        if root == "swarm":
            if layer == "apps" and name == "swarm":
                continue
            assert allowed(name, INSIDE[layer]), f"{where}: not below {layer}"
        elif root in sys.stdlib_module_names:
            assert root not in FORBIDDEN.get(layer, set()), f"{where}: {layer} is pure"
        elif layer in THIRD_PARTY:
            assert root in THIRD_PARTY[layer], f"{where}: not a library of {layer}"


@pytest.mark.parametrize("layer", ["proto", "engine"])
def test_pure_layers_have_no_coroutines(layer: str) -> None:
    for module, path in MODULES:
        if layer_of(module) == layer:
            found = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Await)]
            assert not found, f"{module} awaits"


@pytest.mark.parametrize(("folder", "most"), [("swarm", 450), ("bench", 450), ("tests", 650)])
def test_every_file_is_of_readable_length(folder: str, most: int) -> None:
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= most, f"{path}: time to split it"


def test_only_programs_import_the_benchmarks() -> None:
    for module, path in MODULES:
        if layer_of(module) not in ("apps", "bench"):
            for name, line in imports(module, path):
                assert not name.startswith("swarm.bench"), f"{path}:{line}"


def test_only_tests_import_the_test_kit() -> None:
    for module, path in MODULES:
        if layer_of(module) != "testing":
            for name, line in imports(module, path):
                assert not name.startswith("swarm.testing"), f"{path}:{line}"
