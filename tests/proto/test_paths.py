"""Names out of a torrent: they stay inside, stay apart, and otherwise stay as they are."""

import ntpath
import posixpath
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.proto.paths import PART_BYTES, PATH_BYTES, folded, safe_part, safe_paths

HOSTILE = [
    "..", ".", "...", ". .", ".. ", " ", "", "/", "\\", "..\\", "../", "....//", "%2e%2e", "~",
    "/etc/x", "C:\\x", "C:", "C:x", "é:x", "::x", "\\\\host\\share", "\\\\?\\C:\\x", "//host/share",
    "a\0b", "\0", "\n", "\x7f", "\x85", "\ud800", "CON", "con.txt", "NUL .x", "COM1", "LPT¹.a",
    "aux", "a:b", "file:stream", "a?", "x.", "x ", "x" * 300, "é" * 200 + ".mkv", "A", "a", "é",
    "e\u0301",
]  # fmt: skip

parts = st.sampled_from(HOSTILE) | st.text(max_size=6) | st.text("./\\: aA\0", max_size=5)
paths = st.lists(st.lists(parts, max_size=5), max_size=12)


@given(paths, st.booleans())
@example([[name] for name in HOSTILE], True)
@example([[name] for name in HOSTILE], False)
@example([[name, "x"] for name in HOSTILE], False)
def test_fn01_always_inside_and_distinct(raw, windows):
    safe = safe_paths(raw, windows=windows)
    assert len(safe) == len(raw)
    assert safe == safe_paths(raw, windows=windows)
    for path in safe:
        joined = posixpath.normpath(posixpath.join("/srv/root", *path))
        assert joined == "/srv/root/" + "/".join(path)
        assert PurePosixPath("/srv/root", *path).parts[3:] == path
        joined = ntpath.normpath(ntpath.join("D:\\root", *path))
        assert joined == "D:\\root\\" + "\\".join(path)
        assert PureWindowsPath("D:\\root", *path).parts[2:] == path
        assert not PureWindowsPath("D:\\root", *path).is_reserved()
        for part in path:
            assert 0 < len(part.encode()) <= PART_BYTES
            assert part.strip(". ")
            assert not windows or part == part.rstrip(". ")
            assert not windows or not set(part) & set('<>:"|?*')
            assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in part)
    keys = {folded(path) for path in safe}
    assert len(keys) == len(safe), "two files would share a path"
    for path in safe:
        for depth in range(1, len(path)):
            assert folded(path[:depth]) not in keys, "a file would be a folder"


@given(paths, st.booleans())
def test_what_is_safe_is_left_alone(raw, windows):
    safe = safe_paths(raw, windows=windows)
    assert safe_paths(safe, windows=windows) == safe


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("..", "_"),
        (".", "_"),
        ("../x", "..x"),
        ("..\\", "_"),
        ("....//", "_"),
        ("%2e%2e", "%2e%2e"),
        ("..\0", "_"),
        ("\0", ""),
    ],
)
def test_fn01_dots(raw, safe):
    assert safe_part(raw) == safe


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("/etc/x", "etcx"),
        ("C:\\x", "C_x"),
        ("C:x", "C_x"),
        ("\\\\host\\share", "hostshare"),
        ("\\\\?\\C:\\x", "?C:x"),
    ],
)
def test_fn03_absolute(raw, safe):
    assert safe_part(raw, windows=False) == safe


def test_fn04_nul_and_control_characters():
    assert safe_part("a\0b\nc\x7fd\x85e") == "ab_c_d_e"
    assert safe_paths([["a\0b"], ["ab"]]) == [("ab",), ("ab.1",)]


@pytest.mark.parametrize(
    "name", ["CON", "prn", "AUX.c", "nul.tar.gz", "COM1.txt", "LPT¹", "con .x", "CONIN$"]
)
def test_fn05_devices(name):
    for windows in (False, True):
        assert safe_part(name, windows=windows) == "_" + name


@pytest.mark.parametrize(
    "name", ["CONTENTS", "com10", "Con Air.mkv", "auxiliary.c", "null", "lpt", "x.con"]
)
def test_fn05_what_only_looks_like_a_device(name):
    assert safe_part(name) == name


def test_fn06_what_windows_forbids():
    name = 'What? <1>: "a|b"*.mkv'
    assert safe_part(name, windows=True) == "What_ _1__ _a_b__.mkv"
    assert safe_part(name, windows=False) == name
    assert safe_part("file:stream", windows=True) == "file_stream"
    assert safe_paths([["a?"], ["a*"], ["a_"]], windows=True) == [("a_",), ("a_.1",), ("a_.2",)]


def test_fn07_dots_and_spaces_at_the_end():
    raw = [["x."], ["x "], ["x"], ["..."], ["   "], ["x..", "y"]]
    assert safe_paths(raw, windows=True) == [
        ("x.1",), ("x.2",), ("x.3",), ("_",), ("_.1",), ("x", "y"),
    ]  # fmt: skip
    # Elsewhere they are names like any other, and other clients have them on disk.
    assert safe_paths(raw, windows=False) == [
        ("x.",), ("x ",), ("x",), ("_",), ("_.1",), ("x..", "y"),
    ]  # fmt: skip


def test_fn08_case():
    assert safe_paths([["A.txt"], ["a.txt"], ["d", "B"], ["D", "b"]]) == [
        ("A.txt",), ("a.1.txt",), ("d", "B"), ("D", "b.1"),
    ]  # fmt: skip
    assert safe_paths([["a.1.txt"], ["A.txt"], ["a.txt"], ["a.TXT"]]) == [
        ("a.1.txt",), ("A.txt",), ("a.2.txt",), ("a.3.TXT",),
    ]  # fmt: skip


def test_fn09_unicode_forms():
    assert safe_paths([["\u00e9"], ["e\u0301"], ["E\u0301"]]) == [
        ("\u00e9",), ("e\u0301.1",), ("E\u0301.2",),
    ]  # fmt: skip
    assert safe_paths([["e\u0301.mkv"]]) == [("e\u0301.mkv",)], "alone it stays decomposed"


def test_fn10_invisible_characters_stay():
    name = "a\u202eb\u200bc\u2066d\u00adé.txt"
    assert safe_part(name) == name


@pytest.mark.parametrize(
    "name", ["x" * 5000 + ".mkv", "é" * 2500 + ".mkv", "😀" * 64 + ".mkv", "x" * 254 + ".mkv"]
)
def test_fn11_long_elements(name):
    part = safe_part(name)
    assert 200 < len(part.encode()) <= PART_BYTES
    assert part.endswith(".mkv")
    assert part == safe_part(name)
    assert name.startswith(part[:40])
    assert part != safe_part("y" + name[1:]) != safe_part(name + "y")
    other = name[:-5] + "z" + name[-4:]
    assert safe_part(other) != part, "they differ only in what was cut"


def test_fn11_elements_that_fit_stay():
    for name in ("x" * 255, "é" * 127, "x" * 251 + ".mkv", "." + "x" * 254):
        assert safe_part(name) == name


def test_fn11_long_paths():
    deep = ["d" * 100] * 50
    first, second, other = safe_paths([[*deep, "a.mkv"], [*deep, "b.mkv"], [*deep, "e", "a.mkv"]])
    assert len("/".join(first).encode()) <= PATH_BYTES
    assert first[-1] == "a.mkv"
    assert first[:-1] == second[:-1] != other[:-1]


def test_mi38_duplicates():
    assert safe_paths([["a"], ["a"], ["a"]]) == [("a",), ("a.1",), ("a.2",)]
    assert safe_paths([["a"], ["a", "b"]]) == [("a.1",), ("a", "b")]
    assert safe_paths([["a", "b"], ["A"], ["a.1"]]) == [("a", "b"), ("A.2",), ("a.1",)]


def test_mi38_many_duplicates_take_linear_time():
    safe = safe_paths([["same.txt"]] * 50_000)
    assert safe[-1] == ("same.49999.txt",)
    assert len(set(safe)) == 50_000
