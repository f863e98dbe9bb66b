"""Charts are pictures that programs can read, with everybody in them."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm.bench import chart
from swarm.bench.report import Report

Make = Callable[..., Report]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = st.floats(1e-9, 1e15)


def texts(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
        st.lists(
            st.fixed_dictionaries(
                {"rate": FIGURES}, optional={"leecher_cpu": FIGURES, "seeder_cpu": FIGURES}
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=6,
    )
)
def test_every_name_is_in_a_well_formed_picture(
    report_of: Make, rounds: dict[str, list[dict[str, float]]]
) -> None:
    picture = chart.svg(report_of(rounds))
    shown = texts(picture)
    root = ET.fromstring(picture)
    for name in rounds:
        assert "".join(c if c.isprintable() else "?" for c in name) in shown
    dots = sum(len(values) for each in rounds.values() for values in each)
    assert len(list(root.iter(f"{SVG}circle"))) == dots
    width = float(root.attrib["width"])
    for bar in root.iter(f"{SVG}rect"):
        if bar.attrib["class"] != "paper":
            assert 0 <= float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width


def test_bars_are_as_long_as_their_figures(report_of: Make) -> None:
    rounds = {"swarm": [{"rate": 400.0}, {"rate": 200.0}, {"rate": 300.0}], "b": [{"rate": 150.0}]}
    root = ET.fromstring(chart.svg(report_of(rounds, rivals=["b"])))
    bars = {bar.attrib["class"]: float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")}
    assert bars["ours"] == pytest.approx(2 * bars["theirs"], abs=0.2)


def test_who_failed_is_there_too(report_of: Make, failure: Callable[[str, str], Any]) -> None:
    failed = [failure("aria2", "does not seed:\nlog")]
    shown = texts(chart.svg(report_of({"swarm": [{"rate": 1.0}]}, failures=failed)))
    assert "aria2" in shown
    assert "failed: does not seed:" in shown


@given(FIGURES, st.integers(1, 9))
def test_ticks_are_round_and_reach_far_enough(highest: float, most: int) -> None:
    marks = chart.ticks(highest, most)
    assert marks[0] == 0
    assert 2 <= len(marks) <= most + 2
    assert marks[-1] >= highest * (1 - 1e-6)
    assert marks[-2] < highest
    step = f"{marks[1]:e}".split("e")[0]
    assert step.rstrip("0").rstrip(".") in ("1", "2", "2.5", "5")


def test_files_by_their_suffix(
    report_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of({"swarm": [{"rate": 1.0}]})
    chart.save(report, tmp_path / "a.svg")
    assert ET.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    with pytest.raises(swarm.ConfigError, match="neither"):
        chart.save(report, tmp_path / "a.gif")
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "resvg_py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(swarm.ConfigError, match=r"pip install 'swarm-engine\[plot\]'"):
        chart.save(report, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_a_png(report_of: Make, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    chart.save(report_of({"swarm": [{"rate": 1.0}]}), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
