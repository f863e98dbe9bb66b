"""What pyproject.toml cannot say: how the two compiled parts are built.

`ext/swarm/*.pyx` become `swarm._*` through Cython; `rust/` becomes `swarm._native` through maturin.
SWARM_BUILD=cython|rust builds one of the two; SWARM_CARGO_PROFILE names a Cargo profile.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

RUST_NEEDED = (1, 89)  # AVX-512 intrinsics are stable from here on


class MaturinExtension(Extension):
    """An extension module that maturin builds from a Cargo manifest."""

    def __init__(self, name, manifest):
        super().__init__(name, sources=[])
        self.manifest = manifest


class BuildExt(build_ext):
    """Compiles Cython as usual, and hands Rust to maturin."""

    def run(self):
        for problem in missing_tools(self.extensions):
            sys.exit(f"\nswarm cannot be built: {problem}\n")
        super().run()

    def build_extension(self, ext):
        if isinstance(ext, MaturinExtension):
            self.build_maturin(ext)
        else:
            super().build_extension(ext)

    def build_maturin(self, ext):
        target = Path(self.get_ext_fullpath(ext.name))
        profile = os.environ.get("SWARM_CARGO_PROFILE", "release")
        with tempfile.TemporaryDirectory() as out:
            command = ["maturin", "build", "--locked", "--profile", profile, "--quiet"]
            command += ["--manifest-path", ext.manifest, "--interpreter", sys.executable]
            subprocess.run([*command, "--compatibility", "off", "--out", out], check=True)
            (wheel,) = Path(out).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                stem = ext.name.rpartition(".")[2] + "."
                (member,) = (
                    name
                    for name in archive.namelist()
                    if Path(name).name.startswith(stem) and name.endswith((".so", ".pyd"))
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                # Replaced, never overwritten: a running process may have the old one mapped.
                fresh = target.with_name(target.name + "~")
                with archive.open(member) as source, open(fresh, "wb") as sink:
                    shutil.copyfileobj(source, sink)
                os.replace(fresh, target)


def missing_tools(extensions):
    """One sentence for each prerequisite that is not there."""
    compiler = os.environ.get("CC", "cc").split()[0]
    if sys.platform != "win32" and not (shutil.which(compiler) or shutil.which("gcc")):
        yield "no C compiler was found. Install one (Debian: apt install build-essential)."
    if not any(isinstance(ext, MaturinExtension) for ext in extensions):
        return
    wanted = ".".join(map(str, RUST_NEEDED))
    rust_hint = f"Install Rust {wanted} or newer (https://rustup.rs)."
    if not shutil.which("cargo") or not shutil.which("rustc"):
        yield f"no Rust compiler was found. {rust_hint}"
        return
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"rustc (\d+)\.(\d+)", said.stdout)
    if not found:
        yield f"`rustc --version` does not work: {said.stderr.strip()[:200]}. {rust_hint}"
    elif (int(found[1]), int(found[2])) < RUST_NEEDED:
        yield f"Rust {found[1]}.{found[2]} is too old. {rust_hint}"


def extensions():
    part = os.environ.get("SWARM_BUILD", "all")
    modules = []
    if part in ("all", "cython"):
        sources = sorted(Path("ext/swarm").glob("*.pyx"))
        optimise = [] if sys.platform == "win32" else ["-O3", "-fno-strict-aliasing"]
        modules += cythonize(
            [
                Extension(f"swarm.{path.stem}", [str(path)], extra_compile_args=optimise)
                for path in sources
            ],
            build_dir="build/cython",
            include_path=["ext"],
            compiler_directives={"language_level": "3", "boundscheck": False, "wraparound": False},
        )
    if part in ("all", "rust"):
        modules.append(MaturinExtension("swarm._native", "rust/Cargo.toml"))
    return modules


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
