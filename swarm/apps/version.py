"""`swarm version`: what is installed here."""

from __future__ import annotations

import platform
import sys

import click

import swarm

from . import options
from .command import Command
from .output import record


@click.command("version", cls=Command)
@options.as_json
def command(as_json: bool) -> None:
    """Show the version."""
    if as_json:
        python = platform.python_version()
        record("version", version=swarm.__version__, python=python, platform=sys.platform)
    else:
        print(f"swarm {swarm.__version__}")
