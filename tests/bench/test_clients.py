"""Adapters: found by being there, and true in what they say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swarm.bench import clients
from swarm.bench.clients import Client, Pair, Swarm, every, installed
from swarm.bench.host import Host

FOLDER = Path(clients.__file__).parent


def test_every_module_has_a_client() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "client", "pair"}
    assert {kind.__module__.rpartition(".")[2] for kind in every().values()} == modules
    assert all(name == kind.name for name, kind in every().items())
    assert list(every())[:2] == ["swarm", "libtorrent"]


def test_installed_ones_have_a_version_and_are_no_variants() -> None:
    found = installed()
    assert Swarm in found
    for kind in found:
        assert not kind.variant
        assert re.match(r"\d+\.\d", kind.version()), kind.name


@pytest.mark.parametrize("kind", every().values(), ids=lambda kind: kind.name)
def test_what_is_missing_can_be_installed(
    kind: type[Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = kind.missing()
    by_path = not issubclass(kind, Swarm) and kind.name != "libtorrent"
    assert (" install " in problem) if problem else not by_path


def test_the_example_of_the_readme_is_a_client(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert found
    names: dict[str, type[Client]] = {}
    exec("import shutil\nfrom pathlib import Path\n", names)
    exec("from swarm.bench.clients.client import Client, first_line\n" + found[1], names)
    example = names["Example"]
    assert example.missing() == "example is missing: apt install example"
    client = example(Host("127.0.0.1"), tmp_path / "home", ports=[7001])
    command = client.command("seed", tmp_path / "a.torrent")
    assert command[-2:] == ["--seed", str(tmp_path / "a.torrent")]
    written = Path(command[1].removeprefix("--config="))
    assert written.read_text() == "bind=127.0.0.1\nport=7001\n"


def test_told_is_what_was_passed(tmp_path: Path) -> None:
    class Example(Swarm):
        name = "example"

        def command(self, role: str, torrent: Path) -> list[str]:
            rc = self.write("rc", f"save={self.data}\n")
            return ["echo", role, f"--rc={rc}", str(torrent), "two words"]

    with Example(Host("127.0.0.1"), tmp_path / "home") as client:
        client.leech(tmp_path / "a.torrent")
        assert client.running.wait_exit() == 0
        assert client.running.tail().split()[0] == "leech"
    assert client.told == "echo leech --rc=FOLDER/rc TORRENT 'two words'\nrc:\nsave=DATA\n"


def test_names_of_pairs() -> None:
    assert Pair.of(Swarm).name == "swarm"
    pair = Pair(Swarm, every()["aria2"])
    assert pair.name == "swarm to aria2"
    assert Pair.of(pair) is pair
