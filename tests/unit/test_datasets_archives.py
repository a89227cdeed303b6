"""Archives are unpacked whole and safely, or refused."""

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rehearse.core.errors import DataError
from rehearse.core.staging import staged_folder
from rehearse.datasets._archives import unpack
from support import datasets

FORMATS = ("zip", "tar", "gztar", "bztar", "xztar")


@pytest.fixture
def source(tmp_path):
    return datasets.fake_source("image_folder", tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "staged"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_archive_format_is_unpacked(tmp_path, source, target, kind):
    archive = shutil.make_archive(str(tmp_path / "photos"), kind, tmp_path, "source")
    assert datasets.stage("image_folder", target, Path(archive)).num_train == 3
    assert not (staged_folder(datasets.section("image_folder"), target) / "unpacked").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.95])
def test_truncated_archive_is_refused(tmp_path, source, target, kind, kept):
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), kind, source))
    content = archive.read_bytes()
    # A plain tar ends with two empty blocks and padding: only a cut before them loses anything.
    useful = len(content.rstrip(b"\0"))
    archive.write_bytes(content[: int(useful * kept)])
    with pytest.raises(DataError, match=r"photos.*: (truncated or corrupt archive|unpacked, but holds no)"):
        datasets.stage("image_folder", target, archive)
    assert datasets.nothing_staged(target)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "tar"])
def test_flipped_byte_in_an_archive_is_noticed(tmp_path, target, kind):
    source = tmp_path / "one"
    source.mkdir()
    (source / "noise.bin").write_bytes(np.random.default_rng(0).bytes(50_000))
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), kind, source))
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt archive"):
        unpack(archive, tmp_path / "out", datasets.ignore)


def test_flipped_byte_in_a_tar_stream_of_one_file_is_noticed_after_its_end(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    archive = tmp_path / "data.tar.gz"
    content = bytearray(gzip.compress(plain.getvalue()))
    content[-6] ^= 1  # in the checksum, which lies behind the tar's last block
    archive.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt"):
        unpack(archive, tmp_path / "out", datasets.ignore)


def tar_with(tmp_path, member):
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(member)
    return path


def special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "{tmp}/outside"])
def test_archive_that_leaves_its_folder_is_refused(tmp_path, target, name):
    name = name.format(tmp=tmp_path)
    with pytest.raises(DataError, match=r"unsafe member.*outside"):
        datasets.stage("image_folder", target, tar_with(tmp_path, tarfile.TarInfo(name)))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, "content")
    with pytest.raises(DataError, match=r"unsafe member.*outside"):
        datasets.stage("image_folder", target, tmp_path / "bad.zip")
    assert not list(tmp_path.rglob("outside"))
    assert datasets.nothing_staged(target)


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "other"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
    ids=["symlink", "hardlink", "fifo", "device"],
)
def test_archive_with_links_or_devices_is_refused(tmp_path, target, member):
    with pytest.raises(DataError, match="neither a file nor a folder"):
        datasets.stage("image_folder", target, tar_with(tmp_path, member))
    assert datasets.nothing_staged(target)


def test_file_that_is_no_archive_is_refused(tmp_path, target):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="not an archive that can be unpacked"):
        datasets.stage("image_folder", target, tmp_path / "notes.txt")


def test_archive_in_an_archive_is_unpacked_too(tmp_path, target):
    tree = datasets.fake_source("caltech101", tmp_path / "tree")
    shutil.make_archive(str(tmp_path / "official" / "caltech-101" / "101_ObjectCategories"), "gztar", tree)
    outer = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "official")
    assert datasets.stage("caltech101", target, Path(outer)).num_classes == 2
