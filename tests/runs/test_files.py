"""Files are whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from optim.config.digests import digest_of_file, digest_of_text
from optim.runs.files import write_atomically


def test_writes_text_as_utf8_and_bytes_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "Zuckerstreußel\n")
    write_atomically(tmp_path / "b.bin", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == "Zuckerstreußel\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_the_remainder_of_a_killed_write_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", lambda *_: None)
        write_atomically(path, "a remainder that is longer than what follows")
    assert not path.exists()
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_half_written_event_file_is_not_taken_for_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: None)
    write_atomically(tmp_path / "events.out.tfevents.000001", b"half")
    assert all("tfevents" not in entry.name for entry in tmp_path.iterdir())


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("abc")
    # FIPS 180-2, appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of_text("abc") == digest_of_file(tmp_path / "table.csv") == known
    assert digest_of_text("ß") == hashlib.sha256("ß".encode()).hexdigest()
