import hashlib
import json
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


def test_a_link_stays_a_link_and_what_it_points_at_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    atomic_write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "real").read_text() == "new"


def test_a_device_is_no_file_to_write():
    with pytest.raises(UserError, match="/dev/null: it is a device"):
        check_writable("/dev/null")


def test_a_name_that_leaves_no_room_for_the_card_beside_it_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match="name too long"):
        check_writable(tmp_path / ("x" * 250))


def test_bytes_of_a_path_that_are_no_utf_8_come_back_from_json(tmp_path):
    command = b"--data-dir /d/\xe9t\xe9".decode(errors="surrogateescape")
    atomic_write(tmp_path / "c.json", json.dumps({"command": command}, ensure_ascii=False))
    assert json.loads((tmp_path / "c.json").read_text()) == {"command": command}
