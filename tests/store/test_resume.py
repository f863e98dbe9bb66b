"""Resume data: what is believed after which stop, and what a broken file costs."""

from __future__ import annotations

import os
import subprocess
from hashlib import sha1

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.errors import DiskFull, StorageError
from swarm.store import resume as module
from swarm.store.files import FileNow
from swarm.store.names import Where
from swarm.store.places import Places
from swarm.store.resume import Resume, ResumeFile, trusted

INFOHASH = bytes(range(20))


def make(**changes) -> Resume:
    facts = {
        "infohash": INFOHASH,
        "where": Where("/data"),
        "bitfield": b"\xf0",
        "files": (FileNow(10, 20, 30), None),
        "clean": True,
        "uploaded": 5,
        "downloaded": 6,
    }
    return Resume(**{**facts, **changes})


def sealed(body: bytes, version: int = module.VERSION) -> bytes:
    return module._HEADER.pack(module.MAGIC, version, sha1(body).digest()) + body


@pytest.fixture
def file(tmp_path) -> ResumeFile:
    return ResumeFile(tmp_path / "state", INFOHASH)


def test_what_was_saved_is_loaded(file):
    assert file.load() == (None, None)
    file.save(make())
    assert file.load() == (make(), None)
    file.save(make(clean=False))
    assert file.load() == (make(clean=False), None)
    names = sorted(path.suffix for path in file.path.parent.iterdir())
    assert names == [".previous", ".resume"]
    file.remove()
    assert file.load() == (None, None)


def test_rs01_an_empty_file_falls_back_to_the_previous_copy_and_believes_nothing(file):
    file.save(make())
    file.save(make(bitfield=b"\xf8"))
    file.path.write_bytes(b"")
    loaded = file.load()
    assert loaded.resume == make(bitfield=b"\0", clean=False)
    assert loaded.reason is not None
    assert "torn" in loaded.reason
    file.path.unlink()
    assert file.load().resume == make(bitfield=b"\0", clean=False)


def test_rs02_cut_at_every_offset(file):
    file.save(make())
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        file.path.write_bytes(whole[:length])
        loaded = file.load()
        assert loaded.resume is None
        assert loaded.reason


def test_rs02_a_flipped_bit_in_every_byte(file):
    file.save(make())
    whole = file.path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        file.path.write_bytes(damaged)
        assert file.load().resume is None


@given(st.binary(max_size=200))
def test_rs02_any_content_under_a_right_checksum(tmp_path_factory, body):
    file = ResumeFile(tmp_path_factory.mktemp("state"), INFOHASH)
    file.path.write_bytes(sealed(body))
    assert file.load().resume is None


@pytest.mark.parametrize(
    "changes",
    [
        {"uploaded": -1},
        {"files": ((-1, 5, 5),)},
        {"files": (5,)},
        {"bitfield": 7},
        {"where": Where("relative/folder")},
        {"where": Where("/a\0b")},
        {"next": Where("relative/folder")},
        {"clean": 3},
    ],
)
def test_rs02_rs11_fields_out_of_range(file, changes):
    file.path.parent.mkdir()
    file.path.write_bytes(
        sealed(msgspec.msgpack.encode({**msgspec.to_builtins(make()), **changes}))
    )
    loaded = file.load()
    assert loaded.resume is None
    assert loaded.reason


def test_rs05_the_file_of_another_torrent(file, tmp_path):
    file.save(make())
    other = ResumeFile(tmp_path / "state", bytes(20))
    file.path.rename(other.path)
    loaded = other.load()
    assert loaded.resume is None
    assert loaded.reason is not None
    assert "another torrent" in loaded.reason
    with pytest.raises(ValueError, match="another torrent"):
        other.save(make())


def test_rs06_a_newer_version_is_kept_and_not_believed(file):
    file.path.parent.mkdir()
    newer = sealed(b"who knows", version=9)
    file.path.write_bytes(newer)
    loaded = file.load()
    assert loaded.resume is None
    assert loaded.reason is not None
    assert "version 9" in loaded.reason
    file.save(make())
    assert file.load() == (make(), None)
    assert file.path.with_suffix(".version9").read_bytes() == newer


def test_rs07_a_full_state_folder_keeps_the_old_state(file, tmp_path):
    state = file.path.parent
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(state)]
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    try:
        file.save(make())
        with pytest.raises(DiskFull):
            file.save(make(bitfield=bytes(100_000)))
        assert file.load() == (make(), None)
        assert not file.path.with_suffix(".new").exists()
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        with pytest.raises(StorageError):
            file.save(make())
        assert file.load() == (make(), None)
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


ALL = b"\xff"
NONE = b"\0"


def claim(sample, dest, *, bitfield=ALL, clean=True) -> Resume:
    return make(
        bitfield=bitfield, clean=clean, files=Places(sample.meta.files, dest).survey().files
    )


def judge(resume, sample, dest) -> tuple[bytes, bytes]:
    return trusted(resume, sample.meta, Places(sample.meta.files, dest).survey().files)


def touch(path, seconds: int) -> None:
    """Move a file's time by so many seconds."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + seconds * 10**9))


def test_a_clean_stop_is_believed_as_long_as_nothing_changed(sample, tmp_path):
    sample.write(tmp_path)
    assert judge(claim(sample, tmp_path), sample, tmp_path) == (ALL, NONE)
    half = claim(sample, tmp_path, bitfield=b"\xaa")
    assert judge(half, sample, tmp_path) == (b"\xaa", NONE)


def test_without_resume_data_whatever_is_there_is_checked(sample, tmp_path):
    assert judge(None, sample, tmp_path) == (NONE, NONE)
    sample.write(tmp_path)
    assert judge(None, sample, tmp_path) == (NONE, ALL)


@pytest.mark.parametrize("bitfield", [b"", b"\xff\xff", b"\xff" * 100])
def test_rs03_a_bitfield_that_does_not_fit_claims_nothing(sample, tmp_path, bitfield):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, bitfield=bitfield, clean=False)
    assert judge(resume, sample, tmp_path) == (NONE, ALL)


def test_rs03_spare_bits_make_a_bitfield_worthless(make_sample, tmp_path):
    sample = make_sample({"a": 100_000})  # four pieces
    sample.write(tmp_path)
    good = claim(sample, tmp_path, bitfield=b"\xf0", clean=False)
    assert judge(good, sample, tmp_path) == (b"\xf0", NONE)
    bad = claim(sample, tmp_path, bitfield=b"\xf8", clean=False)
    assert judge(bad, sample, tmp_path) == (NONE, b"\xf0")


# Piece 0 is in `a`; 1 in `a`, `dir/b` and `c`; 2 to 6 in `c`; 7 in `c` and `d`.
@pytest.mark.parametrize("clean", [True, False])
def test_rs04_a_missing_file_loses_its_pieces(sample, tmp_path, clean):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, clean=clean)
    (tmp_path / "t/a").unlink()
    assert judge(resume, sample, tmp_path) == (b"\x3f", NONE)


@pytest.mark.parametrize("clean", [True, False])
def test_rs04_a_shorter_file_loses_its_end_and_the_rest_is_checked(sample, tmp_path, clean):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, clean=clean)
    os.truncate(tmp_path / "t/dir/sub/c", 50_000)
    believed, doubtful = judge(resume, sample, tmp_path)
    assert believed == bytes([0b1000_0000])
    assert doubtful == bytes([0b0110_0000])


def test_rs04_after_a_clean_stop_another_time_or_size_means_a_check(sample, tmp_path):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path)
    touch(tmp_path / "t/a", 5)
    assert judge(resume, sample, tmp_path) == (b"\x3f", b"\xc0")
    with (tmp_path / "t/d").open("ab") as file:
        file.write(b"longer")
    assert judge(resume, sample, tmp_path) == (b"\x3e", b"\xc1")


@pytest.mark.parametrize("clean", [True, False])
def test_rs04_zeroed_with_the_same_size_and_time_is_seen(sample, tmp_path, clean):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, clean=clean)
    path = tmp_path / "t/a"
    before = path.stat()
    wait_for_another_time(tmp_path, before.st_ctime_ns)
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert judge(resume, sample, tmp_path) == (b"\x3f", b"\xc0")


def wait_for_another_time(folder, time_ns: int) -> None:
    """The kernel's clock for files moves in steps of some milliseconds."""
    while True:
        probe = folder / "probe"
        probe.touch()
        if probe.stat().st_ctime_ns > time_ns:
            return


def test_after_an_unclean_stop_claims_stand_and_the_rest_is_checked(sample, tmp_path):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, bitfield=b"\xa0", clean=False)
    touch(tmp_path / "t/dir/sub/c", 60)  # it was being written when the end came
    assert judge(resume, sample, tmp_path) == (b"\xa0", b"\x5f")


def test_after_an_unclean_stop_a_finished_file_has_not_changed_or_is_checked(sample, tmp_path):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, bitfield=b"\xff", clean=False)
    touch(tmp_path / "t/dir/sub/c", 60)  # all of it was here: nobody of us wrote to it again
    assert judge(resume, sample, tmp_path) == (b"\x80", b"\x7f")


def test_after_an_unclean_stop_an_older_file_is_no_longer_ours(sample, tmp_path):
    sample.write(tmp_path)
    resume = claim(sample, tmp_path, clean=False)
    touch(tmp_path / "t/d", -3600)
    assert judge(resume, sample, tmp_path) == (b"\xfe", b"\x01")


def test_rs12_times_in_the_future_are_just_times(sample, tmp_path):
    sample.write(tmp_path)
    for file in sample.meta.files:
        touch(tmp_path.joinpath(*file.path), 10 * 365 * 86400)
    resume = claim(sample, tmp_path)
    assert judge(resume, sample, tmp_path) == (ALL, NONE)
    touch(tmp_path / "t/a", -10 * 365 * 86400)
    assert judge(resume, sample, tmp_path) == (b"\x3f", b"\xc0")


def test_rs05_other_files_than_the_torrent_has(sample, tmp_path):
    sample.write(tmp_path)
    resume = make(bitfield=ALL, files=(FileNow(1, 1, 1),))
    assert judge(resume, sample, tmp_path) == (NONE, ALL)


def test_a_symlink_is_no_file(sample, tmp_path):
    sample.write(tmp_path)
    (tmp_path / "t/a").rename(tmp_path / "elsewhere")
    (tmp_path / "t/a").symlink_to(tmp_path / "elsewhere")
    assert Places(sample.meta.files, tmp_path).survey().files[0] is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_is_believed_without_a_claim_or_checked_without_data(make_sample, data):
    sample = make_sample({"a": 50_000, "b": 3, "c": 60_000}, piece_length=16 << 10)
    state = st.builds(FileNow, st.integers(0, 70_000), st.integers(0, 3), st.integers(0, 3))
    now = [data.draw(st.none() | state) for _ in sample.meta.files]
    before = tuple(data.draw(st.none() | state) for _ in now)
    bitfield = data.draw(st.integers(0, 127)) << 1
    resume = make(bitfield=bytes([bitfield]), files=before, clean=data.draw(st.booleans()))
    believed, doubtful = (int.from_bytes(bits) for bits in trusted(resume, sample.meta, now))
    assert not believed & ~bitfield
    assert not believed & doubtful
    for piece in range(sample.meta.piece_count):
        if (believed | doubtful) & 0x80 >> piece:
            end = min((piece + 1) * (16 << 10), sample.meta.length)
            for file, found in zip(sample.meta.files, now, strict=True):
                inside = min(end, file.offset + file.length) - file.offset
                if inside > 0 and file.offset + file.length > piece * (16 << 10):
                    assert found is not None
                    assert found.size >= inside
