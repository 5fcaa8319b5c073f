"""FileStorage: Orthanc's layout, whole files or none, nothing outside the root."""

import errno
import os
import random
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deferred_delete import FileStorage, StorageError
from deferred_delete.storage import file_storage as storage_module
from deferred_delete.storage.layout import check_uuid

UUID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"


def test_writes_where_orthanc_looks(storage: FileStorage) -> None:
    storage.create(UUID, b"content")
    assert (storage.root / "0a" / "1b" / UUID).read_bytes() == b"content"
    assert storage.path_of(UUID) == storage.root / "0a" / "1b" / UUID


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"",  # zero-length files are legal
        b"\0",
        bytes(range(256)) * 8192,  # 2 MiB
    ],
    ids=["empty", "one byte", "2 MiB"],
)
def test_reads_back_exactly_what_was_written(tmp_path: Path, content: bytes, sync: bool) -> None:
    storage = FileStorage(tmp_path / "storage", sync=sync)
    storage.create(UUID, content)
    assert storage.read(UUID) == content
    assert storage.size(UUID) == len(content)


def test_syncs_each_file_if_and_only_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    FileStorage(tmp_path / "a", sync=False).create(UUID, b"x")
    assert synced == []
    FileStorage(tmp_path / "b", sync=True).create(UUID, b"x")
    assert len(synced) == 1


def test_short_writes_and_reads_are_continued(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    content = random.Random(1).randbytes(10_000)
    real_write, real_read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:700]))
    monkeypatch.setattr(os, "read", lambda fd, size: real_read(fd, min(size, 900)))
    storage.create(UUID, content)
    assert storage.read(UUID) == content


def test_refuses_to_overwrite(storage: FileStorage) -> None:
    storage.create(UUID, b"first")
    with pytest.raises(StorageError, match=r"cannot create attachment .*File exists") as refusal:
        storage.create(UUID, b"second")
    assert refusal.value.errno == errno.EEXIST
    assert storage.read(UUID) == b"first"


def test_missing_file_is_one_clear_line(storage: FileStorage) -> None:
    with pytest.raises(
        StorageError, match=rf"^cannot read attachment .*{UUID}: No such file or directory; expected"
    ) as error:
        storage.read(UUID)
    assert "\n" not in str(error.value)
    assert storage.size(UUID) is None


def test_unlink_removes_the_file_and_its_empty_folders(storage: FileStorage) -> None:
    storage.create(UUID, b"content")
    assert storage.delete(UUID).existed is True
    assert list(storage.root.iterdir()) == []


def test_unlink_leaves_folders_that_hold_others(storage: FileStorage) -> None:
    sibling, cousin = f"0a1b{'0' * 4}-0000-0000-0000-{'0' * 12}", f"0aff{'0' * 4}-0000-0000-0000-{'0' * 12}"
    for each in (UUID, sibling, cousin):
        storage.create(each, b"x")
    storage.delete(UUID)
    assert storage.read(sibling) == storage.read(cousin) == b"x"
    storage.delete(sibling)
    assert not (storage.root / "0a" / "1b").exists()
    assert storage.read(cousin) == b"x"


@pytest.mark.parametrize("left_over", [[], ["0a"], ["0a", "0a/1b"]], ids=["nothing", "top folder", "both folders"])
def test_unlinking_a_missing_file_is_a_completed_deletion(storage: FileStorage, left_over: list[str]) -> None:
    for folder in left_over:  # as a crash between unlink and rmdir leaves them
        (storage.root / folder).mkdir()
    assert storage.delete(UUID).existed is False
    assert storage.delete(UUID).existed is False


def test_empty_folders_left_by_a_crash_go_with_the_next_try(storage: FileStorage) -> None:
    (storage.root / "0a" / "1b").mkdir(parents=True)
    storage.delete(UUID)
    assert list(storage.root.iterdir()) == []


def test_a_missing_root_completes_nothing(storage: FileStorage) -> None:
    storage.create(UUID, b"x")
    away = storage.root.rename(storage.root.with_name("away"))
    with pytest.raises(StorageError, match="cannot unlink"):
        storage.delete(UUID)
    with pytest.raises(StorageError, match="cannot create"):
        storage.create(UUID, b"y")
    assert not storage.root.exists(), "a root that went away was made anew"
    away.rename(storage.root)
    assert storage.read(UUID) == b"x"


def test_delete_tells_how_many_bytes_went(storage: FileStorage) -> None:
    storage.create(UUID, b"12345")
    assert storage.delete(UUID) == (True, 5)
    assert storage.delete(UUID) == (False, 0)


def test_a_folder_in_a_files_place_is_an_error_not_a_completion(storage: FileStorage) -> None:
    storage.path_of(UUID).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot unlink attachment") as error:
        storage.delete(UUID)
    assert error.value.errno in (errno.EISDIR, errno.EPERM)
    with pytest.raises(StorageError, match="not a regular file"):
        storage.read(UUID)


def test_a_fifo_in_a_files_place_does_not_hang_the_reader(storage: FileStorage) -> None:
    storage.path_of(UUID).parent.mkdir(parents=True)
    os.mkfifo(storage.path_of(UUID))
    with pytest.raises(StorageError, match="not a regular file"):
        storage.read(UUID)


@pytest.mark.parametrize("link", ["0a", "0a/1b"], ids=["top folder", "second folder"])
def test_no_folder_is_entered_through_a_symbolic_link(storage: FileStorage, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    victim = outside / ("1b" if link == "0a" else ".") / UUID
    victim.parent.mkdir(parents=True)
    victim.write_bytes(b"not ours")
    (storage.root / link).parent.mkdir(exist_ok=True)
    (storage.root / link).symlink_to(outside, target_is_directory=True)
    for attack in (storage.delete, storage.read, storage.size, lambda name: storage.create(name, b"x")):
        with pytest.raises(StorageError, match="symbolic link"):
            attack(UUID)
    assert victim.read_bytes() == b"not ours"
    assert [path for path in outside.rglob("*") if path.is_file()] == [victim]


def test_a_symbolic_link_in_a_files_place_is_neither_read_nor_followed(storage: FileStorage, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"not ours")
    storage.path_of(UUID).parent.mkdir(parents=True)
    storage.path_of(UUID).symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic link"):
        storage.read(UUID)
    with pytest.raises(StorageError, match="File exists"):
        storage.create(UUID, b"x")
    assert storage.delete(UUID).existed is True  # the link itself
    assert victim.read_bytes() == b"not ours"


def test_a_dangling_link_is_not_created_through(storage: FileStorage, tmp_path: Path) -> None:
    storage.path_of(UUID).parent.mkdir(parents=True)
    storage.path_of(UUID).symlink_to(tmp_path / "made")
    with pytest.raises(StorageError):
        storage.create(UUID, b"x")
    assert not (tmp_path / "made").exists()


def test_the_root_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "storage").symlink_to(tmp_path / "disk")
    storage = FileStorage(tmp_path / "storage", sync=False)
    storage.create(UUID, b"x")
    assert (tmp_path / "disk" / "0a" / "1b" / UUID).read_bytes() == b"x"
    assert storage.delete(UUID)


@given(st.text(max_size=60))
@example("../../../../../../etc/passwd-aaaa-aaaa-aaaa")
@example(UUID + "\n")
@example(UUID + "\0")
@example("/" + UUID[1:])
@example(UUID.replace("-", "/"))
@example("٠" * 8 + UUID[8:])  # digits to str.isdigit, not to us
@example("..345678-1234-1234-1234-123456789012")
@example("")
def test_what_is_no_uuid_never_becomes_a_path(text: str) -> None:
    with pytest.raises(StorageError, match="not an attachment UUID"):
        check_uuid(text)


@pytest.mark.parametrize("nonsense", [None, 5, b"0a1b2c3d-4e5f-6789-abcd-ef0123456789"])
def test_what_is_no_text_is_refused_alike(nonsense: object) -> None:
    with pytest.raises(StorageError, match="not an attachment UUID"):
        check_uuid(nonsense)  # type: ignore[arg-type]


@given(st.uuids())
def test_every_uuid_stays_inside_the_root(attachment: object) -> None:
    for text in (str(attachment), str(attachment).upper()):  # macOS writes upper case
        path = FileStorage.path_of(_Rooted(), text)  # type: ignore[arg-type]
        assert path.relative_to("/root").parts == (text[:2], text[2:4], text)


class _Rooted:
    root = Path("/root")


def test_a_failed_write_leaves_nothing(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write

    def breaks(fd: int, data: memoryview) -> int:
        if len(data) < 5000:
            raise OSError(errno.EIO, "Input/output error")
        return real_write(fd, data[:1000])

    monkeypatch.setattr(os, "write", breaks)
    with pytest.raises(
        StorageError, match=r"cannot write attachment .*Input/output error; expected room for 8000 bytes"
    ):
        storage.create(UUID, b"x" * 8000)
    assert list(storage.root.iterdir()) == []


def test_a_failed_sync_or_close_is_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FileStorage(tmp_path / "storage", sync=True)

    def fails(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(StorageError, match="cannot write"):
        storage.create(UUID, b"x")
    assert list(storage.root.iterdir()) == []


def test_a_full_disk_refuses_the_file_and_keeps_no_part(tmpfs) -> None:
    storage = FileStorage(tmpfs(512) / "storage", sync=True)
    storage.create(UUID, b"x" * 1000)
    other = UUID.replace("0a1b", "ffff")
    with pytest.raises(StorageError, match="No space left on device; expected room for 2000000 bytes") as error:
        storage.create(other, b"y" * 2_000_000)
    assert error.value.errno == errno.ENOSPC
    assert [path for path in storage.root.rglob("*") if path.is_file()] == [storage.path_of(UUID)]
    storage.create(other, b"y")  # the space came back
    assert storage.read(UUID) == b"x" * 1000


def test_a_read_only_disk_refuses_create_and_unlink_but_reads(tmpfs, remount) -> None:
    disk = tmpfs(512)
    storage = FileStorage(disk / "storage", sync=False)
    storage.create(UUID, b"x")
    remount(disk, "ro")
    with pytest.raises(StorageError, match="Read-only file system") as error:
        storage.delete(UUID)
    assert error.value.errno == errno.EROFS
    with pytest.raises(StorageError, match="Read-only file system"):
        storage.create(UUID.replace("0a1b", "ffff"), b"x")
    assert storage.read(UUID) == b"x"


def test_a_folder_that_may_not_be_changed_keeps_its_file(storage: FileStorage) -> None:
    storage.create(UUID, b"x")
    folder = storage.path_of(UUID).parent
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+i", str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("chattr +i needs root and a file system that knows it")
    try:
        with pytest.raises(StorageError, match="Operation not permitted") as error:
            storage.delete(UUID)
        assert error.value.errno == errno.EPERM
        assert storage.read(UUID) == b"x"
    finally:
        subprocess.run([chattr, "-i", str(folder)], check=True)
    assert storage.delete(UUID)


def test_a_folder_that_can_not_be_removed_does_not_undo_the_deletion(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")  # a mount point

    storage.create(UUID, b"x")
    monkeypatch.setattr(os, "rmdir", busy)
    assert storage.delete(UUID).existed is True
    assert "cannot remove the empty folder 1b" in caplog.text


def test_a_root_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot make the storage folder"):
        FileStorage(tmp_path / "file" / "storage", sync=False)


def test_files_are_for_orthancs_umask_to_decide(storage: FileStorage) -> None:
    before = os.umask(0o027)
    try:
        storage.create(UUID, b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(storage.path_of(UUID).stat().st_mode) == 0o640


def test_create_gives_up_after_a_bounded_number_of_lost_races(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage._folders, "make", lambda _uuid: None)
    with pytest.raises(StorageError, match=f"its folder vanished {storage_module._CREATE_ROUNDS} times"):
        storage.create(UUID, b"x")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_creates_win_every_race_against_the_removal_of_empty_folders(tmp_path: Path, seed: int) -> None:
    """Four threads create and unlink thousands of files in one folder, so that it comes and goes all the time."""
    storage = FileStorage(tmp_path / "storage", sync=False)
    errors: list[BaseException] = []

    def churn(thread: int) -> None:
        source = random.Random(seed * 100 + thread)
        try:
            for number in range(1000):
                attachment = f"0a1b{number:04x}-0000-4000-8000-{thread:04x}{source.getrandbits(32):08x}"
                content = attachment.encode()
                storage.create(attachment, content)
                assert storage.read(attachment) == content
                assert storage.delete(attachment)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(storage.root.iterdir()) == []
