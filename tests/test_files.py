import hashlib
import os

import pytest

from ignite_kd.errors import UserError
from ignite_kd.files import atomic_write, check_writable, digest_of


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    atomic_write(path, "one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    atomic_write(path, "old")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    plain, written = tmp_path / "plain", tmp_path / "written"
    plain.write_text("x")
    atomic_write(written, "x")
    assert plain.stat().st_mode == written.stat().st_mode


def test_what_cannot_be_written_is_refused_before(tmp_path):
    check_writable(tmp_path / "new" / "weights.th")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="cannot write"):
        check_writable(tmp_path / "file" / "weights.th")


def test_the_digest_is_sha256_and_a_missing_file_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(UserError, match=r"cannot read .*teacher\.th: No such file"):
        digest_of(tmp_path / "teacher.th")
