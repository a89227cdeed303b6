"""Downloads from a server on the loopback interface that misbehaves on demand."""

import hashlib
import logging
import socket

import pytest

from rehearse.core.catalogue import Archive
from rehearse.core.errors import DataError
from rehearse.datasets import _download
from rehearse.datasets._download import download
from support import datasets

CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(_download, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(_download, "_TIMEOUT_S", 0.5)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with datasets.serve({"data.bin": CONTENT}) as running:
        yield running


def archive(*urls, sha256=None, md5=""):
    expected = hashlib.sha256(CONTENT).hexdigest() if sha256 is None else sha256
    return Archive(file="data.bin", urls=urls, sha256=expected, md5=md5, num_bytes=len(CONTENT))


def fetch(wanted, folder):
    return download(wanted, folder, datasets.ignore)


def test_file_arrives_whole_and_progress_counts_bytes(server, tmp_path):
    seen = []
    path = download(archive(server.url("data.bin")), tmp_path, lambda *step: seen.append(step))
    assert path == tmp_path / "data.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("check data.bin", len(CONTENT), len(CONTENT))
    counts = [done for what, done, total in seen if what == "download data.bin"]
    assert counts == sorted(counts)
    assert counts[-1] == len(CONTENT)
    assert list(tmp_path.iterdir()) == [path]


def test_official_md5_serves_where_no_sha256_is_known(server, tmp_path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert fetch(archive(server.url("data.bin"), sha256="", md5=md5), tmp_path).exists()
    with pytest.raises(DataError, match="wrong checksum: md5 is"):
        fetch(archive(server.url("data.bin"), sha256="", md5="0" * 32), tmp_path / "other")


def test_cut_connection_is_continued(server, tmp_path):
    server.plan = ["cut"]
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_connection_cut_every_time_fails_and_keeps_what_came(server, tmp_path):
    server.plan = ["cut"] * 3
    with pytest.raises(DataError, match=r"connection cut after \d+ of 1024000 bytes.*--source FOLDER"):
        fetch(archive(server.url("data.bin")), tmp_path)
    kept = tmp_path / "data.bin.partial"
    assert CONTENT.startswith(kept.read_bytes())
    assert kept.stat().st_size == len(CONTENT) * 7 // 8
    assert not (tmp_path / "data.bin").exists()


def test_stalled_connection_times_out_and_is_continued(server, tmp_path):
    server.plan = ["stall"]
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges[1] == f"bytes={len(CONTENT) // 2}-"


def test_partial_file_of_an_earlier_run_is_continued(server, tmp_path):
    (tmp_path / "data.bin.partial").write_bytes(CONTENT[:1000])
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_partial_file_that_is_complete_is_only_checked(server, tmp_path):
    (tmp_path / "data.bin.partial").write_bytes(CONTENT)
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_partial_file_longer_than_the_file_starts_over(server, tmp_path):
    (tmp_path / "data.bin.partial").write_bytes(CONTENT + b"more")
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_partial_file_of_something_else_starts_over(server, tmp_path, caplog):
    (tmp_path / "data.bin.partial").write_bytes(b"x" * 1000)
    with caplog.at_level(logging.WARNING, logger="rehearse"):
        assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_server_that_ignores_ranges_starts_over(server, tmp_path):
    server.honours_ranges = False
    (tmp_path / "data.bin.partial").write_bytes(CONTENT[:1000])
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT


def test_busy_server_is_asked_again(server, tmp_path):
    server.plan = [503, 429]
    assert fetch(archive(server.url("data.bin")), tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_missing_file_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(DataError, match=r"cannot download data\.bin \(http://.*/gone: HTTP 404"):
        fetch(archive(server.url("gone")), tmp_path)
    assert len(server.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_next_address_is_tried(server, tmp_path):
    assert fetch(archive(server.url("gone"), server.url("data.bin")), tmp_path).read_bytes() == CONTENT


def test_wrong_content_is_refused_and_not_kept(server, tmp_path):
    server.content["data.bin"] = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"wrong checksum: sha256 is .*, expected .* \(26 bytes found\)"):
        fetch(archive(server.url("data.bin")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_server_says_how_to_go_on(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/data.bin"
        with pytest.raises(DataError, match=r"Connection refused.*fetch it on another machine"):
            fetch(archive(url), tmp_path)


def test_unknown_host_fails_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_PAUSES_S", (60.0,))
    with pytest.raises(DataError, match="Without a network"):
        fetch(archive("http://no-such-host.invalid/data.bin"), tmp_path)


def test_full_disk_is_not_blamed_on_the_server(server, tmp_path, monkeypatch):
    (tmp_path / "data.bin.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        fetch(archive(server.url("data.bin")), tmp_path)
    assert len(server.ranges) == 1
