"""What a driver must refuse, on real devices and mounts: a clear answer, and not a byte changed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from mooring.adapters.host import commands
from mooring.api import keys
from mooring.domain import ids
from mooring_csi._generated import csi_pb2 as pb
from mooring_csi._generated import csi_pb2_grpc as rpc
from mooring_dev import csi_processes
from support import real_storage
from support.csi_calls import MIB, block_capability, create_request, mount_capability

pytestmark = pytest.mark.system
CODE = grpc.StatusCode
TIMEOUT = 60
SMALL = 64 * MIB
MANY = pb.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER


@dataclass
class Driver:
    """A served driver and the folder that holds everything of it."""

    folder: Path
    controller: rpc.ControllerStub
    node: rpc.NodeStub

    def create(self, name: str, size: int = SMALL, **fields: Any) -> str:
        request = create_request(name, size, **fields)
        volume_id: str = self.controller.CreateVolume(request, timeout=TIMEOUT).volume.volume_id
        return volume_id

    def image(self, volume_id: str) -> Path:
        return next(self.folder.glob(f"**/images/{volume_id}"))

    def staging(self, volume_id: str) -> dict[str, str]:
        path = self.folder / "staging" / volume_id
        return {"volume_id": volume_id, "staging_target_path": str(path)}

    def stage(self, volume_id: str, **capability: Any) -> None:
        request = pb.NodeStageVolumeRequest(
            **self.staging(volume_id), volume_capability=mount_capability(**capability)
        )
        self.node.NodeStageVolume(request, timeout=TIMEOUT)

    def unstage(self, volume_id: str) -> None:
        request = pb.NodeUnstageVolumeRequest(**self.staging(volume_id))
        self.node.NodeUnstageVolume(request, timeout=TIMEOUT)

    def publish(self, volume_id: str, target: str) -> None:
        request = pb.NodePublishVolumeRequest(
            **self.staging(volume_id), target_path=target, volume_capability=mount_capability()
        )
        self.node.NodePublishVolume(request, timeout=TIMEOUT)

    def unpublish(self, volume_id: str, target: str) -> None:
        request = pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target)
        self.node.NodeUnpublishVolume(request, timeout=TIMEOUT)

    def delete(self, volume_id: str) -> None:
        request = pb.DeleteVolumeRequest(volume_id=volume_id)
        self.controller.DeleteVolume(request, timeout=TIMEOUT)


@contextmanager
def served(folder: Path, config: Path, *, killed: bool = False) -> Iterator[Driver]:
    endpoint = folder / "csi.sock"
    options = (("grpc.default_authority", "localhost"),)
    with (
        csi_processes.standalone(config, endpoint) as running,
        grpc.insecure_channel(f"unix:{endpoint}", options=options) as channel,
    ):
        yield Driver(folder, rpc.ControllerStub(channel), rpc.NodeStub(channel))
        if killed:
            running.kill()
            running.wait(TIMEOUT)


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[Path]:
    path.mkdir(parents=True, exist_ok=True)
    commands.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)])
    try:
        yield path
    finally:
        real_storage.unmount(path)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with real_storage.scratch() as folder:
        config = csi_processes.write_settings(folder, "reflink")
        with served(folder, config) as found:
            yield found


@pytest.fixture
def made(driver: Driver, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Makes volumes that are gone after the test."""
    volumes: list[str] = []

    def make(size: int = SMALL, **fields: Any) -> str:
        volumes.append(driver.create(f"{request.node.name}-{len(volumes)}"[-120:], size, **fields))
        return volumes[-1]

    yield make
    for volume_id in volumes:
        driver.unstage(volume_id)
        driver.delete(volume_id)


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[CODE, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    return caught.value.code(), caught.value.details()


def digest(image: Path) -> str:
    with image.open("rb") as file:
        return f"{image.stat().st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def write_at(image: Path, offset: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def another_filesystem(image: Path) -> None:
    commands.run(["mkfs.xfs", "-q", "-f", str(image)])


def an_encrypted_disk(image: Path) -> None:
    write_at(image, 0, b"LUKS\xba\xbe\x00\x01aes".ljust(592, b"\0"))


def a_partition_table(image: Path) -> None:
    partition = bytes(4) + b"\x83" + bytes(3) + (2048).to_bytes(4, "little") * 2
    write_at(image, 446, partition + bytes(48) + b"\x55\xaa")


def random_bytes(image: Path) -> None:
    write_at(image, 0, os.urandom(2 * MIB))


def bytes_in_the_middle(image: Path) -> None:
    write_at(image, 30 * MIB, b"somebody's")


def a_lost_superblock(image: Path) -> None:
    commands.run(["mkfs.ext4", "-q", "-F", str(image)])
    write_at(image, 0, bytes(MIB))


def a_damaged_superblock(image: Path) -> None:
    commands.run(["mkfs.ext4", "-q", "-F", str(image)])
    write_at(image, 1024, os.urandom(40))


def nothing_at_all(image: Path) -> None:
    size = image.stat().st_size
    os.truncate(image, 0)
    os.truncate(image, size)


def half_an_image(image: Path) -> None:
    os.truncate(image, image.stat().st_size // 2)


FOREIGN = [
    another_filesystem, an_encrypted_disk, a_partition_table, random_bytes, bytes_in_the_middle,
    a_lost_superblock, a_damaged_superblock,
]  # fmt: skip


@pytest.mark.parametrize("spoil", FOREIGN)
def test_a_new_volume_that_holds_something_is_never_formatted(
    driver: Driver, made: Callable[..., str], spoil: Callable[[Path], None]
) -> None:
    volume_id = made(320 * MIB if spoil is another_filesystem else SMALL)
    refuse_to_stage(driver, volume_id, spoil)


@pytest.mark.parametrize(
    "spoil",
    [
        another_filesystem,
        an_encrypted_disk,
        random_bytes,
        a_lost_superblock,
        a_damaged_superblock,
        nothing_at_all,
        half_an_image,
    ],
)
def test_a_volume_that_holds_something_else_is_never_formatted_again(
    driver: Driver, made: Callable[..., str], spoil: Callable[[Path], None]
) -> None:
    volume_id = made(320 * MIB if spoil is another_filesystem else SMALL)
    driver.stage(volume_id)
    driver.unstage(volume_id)
    refuse_to_stage(driver, volume_id, spoil)


def refuse_to_stage(driver: Driver, volume_id: str, spoil: Callable[[Path], None]) -> None:
    image = driver.image(volume_id)
    spoil(image)
    before = digest(image)
    for _ in range(2):
        code, details = refused(driver.stage, volume_id)
        assert code is CODE.DATA_LOSS
        assert volume_id in details
        assert "It was not changed" in details
        assert str(image) in details
    assert digest(image) == before
    assert str(image) not in real_storage.attached_below(driver.folder)
    assert not real_storage.mounts_below(driver.folder / "staging" / volume_id)


@pytest.mark.parametrize(
    "name", ["link", "file", "full", "foreign", "loop/mount", "file/mount", "x" * 256, "../mount"]
)
def test_a_target_that_is_something_else_is_left_alone(
    driver: Driver, made: Callable[..., str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "stray").write_bytes(b"somebody's")
    (tmp_path / "file").write_bytes(b"somebody's")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "loop").symlink_to("loop")
    volume_id = made()
    driver.stage(volume_id)
    with tmpfs(tmp_path / "foreign", "size=1m") as foreign:
        (foreign / "stray").write_bytes(b"somebody's")
        target = f"{tmp_path}/{name}"
        before = real_storage.registry.kernel_host().mounts.table()
        code, details = refused(driver.publish, volume_id, target)
        assert code in (CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION)
        assert details
        if name not in ("full/stray", "file/mount"):
            code, _ = refused(driver.unpublish, volume_id, target)
            assert code in (CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION)
        assert real_storage.registry.kernel_host().mounts.table() == before
        for kept in ("full/stray", "file", "foreign/stray"):
            assert (tmp_path / kept).read_bytes() == b"somebody's"


def test_a_staged_volume_is_neither_deleted_nor_unstaged_elsewhere(
    driver: Driver, made: Callable[..., str], tmp_path: Path
) -> None:
    volume_id = made()
    driver.stage(volume_id)
    target = str(tmp_path / "mount")
    driver.publish(volume_id, target)
    (tmp_path / "mount" / "data").write_bytes(b"precious")
    before = real_storage.registry.kernel_host().mounts.table()
    elsewhere = pb.NodeUnstageVolumeRequest(
        volume_id=volume_id, staging_target_path=str(tmp_path / "wrong")
    )
    for call in (
        lambda: driver.node.NodeUnstageVolume(elsewhere, timeout=TIMEOUT),
        lambda: driver.unstage(volume_id),
        lambda: driver.delete(volume_id),
    ):
        code, details = refused(call)
        assert code is CODE.FAILED_PRECONDITION
        assert "pods that use it" in details
    assert refused(driver.publish, volume_id, str(tmp_path / "two"))[0] is CODE.FAILED_PRECONDITION
    assert real_storage.registry.kernel_host().mounts.table() == before
    assert (tmp_path / "mount" / "data").read_bytes() == b"precious"
    driver.unpublish(volume_id, str(tmp_path / "wrong"))
    assert (tmp_path / "mount" / "data").read_bytes() == b"precious"
    driver.unpublish(volume_id, target)


def test_a_driver_killed_between_any_two_calls_goes_on(tmp_path: Path) -> None:
    target, volume_id = tmp_path / "mount", ids.volume_id_for("one")

    def write(driver: Driver) -> None:
        driver.publish(volume_id, str(target))
        real_storage.write_synced(target / "data", b"precious")

    def read(driver: Driver) -> None:
        driver.publish(volume_id, str(target))
        assert (target / "data").read_bytes() == b"precious"
        driver.unpublish(volume_id, str(target))

    with real_storage.scratch() as folder:
        config = csi_processes.write_settings(folder, "directory")
        for act in (
            lambda driver: driver.create("one"),
            lambda driver: driver.stage(volume_id),
            write,
            read,
            lambda driver: driver.unstage(volume_id),
            lambda driver: driver.delete(volume_id),
        ):
            with served(folder, config, killed=True) as driver:
                act(driver)
        assert not real_storage.attached_below(folder)
        (trashed,) = folder.glob("**/images/vol-*")
        assert trashed.name != volume_id


class TestFullPool:
    """A pool on a disk whose room ends in the middle of the work."""

    @pytest.fixture
    def small(self) -> Iterator[Driver]:
        with real_storage.scratch() as folder, tmpfs(folder / "disk", "size=200m") as disk:
            config = folder / "node.yaml"
            # Sparse volumes count a tenth, so that admission lets in what the disk cannot hold.
            config.write_text(
                f"nodeName: node-a\nstateFolder: {folder}/state\npools:\n  - name: main\n"
                f"    backend: directory\n    path: {disk}/pool\n    overcommit: 0.1\n"
            )
            with served(folder, config) as found:
                yield found

    def test_nothing_is_left_behind_and_deleting_makes_room(self, small: Driver) -> None:
        block = {"volume_capabilities": [block_capability()]}
        volume_id = small.create("one", 128 * MIB, **block)
        image = small.image(volume_id)
        write_at(image, 0, os.urandom(120 * MIB))
        before, names = digest(image), sorted(image.parent.iterdir())
        source = pb.VolumeContentSource(
            volume=pb.VolumeContentSource.VolumeSource(volume_id=volume_id)
        )
        snapshot = pb.CreateSnapshotRequest(name="s", source_volume_id=volume_id)
        grow = pb.ControllerExpandVolumeRequest(
            volume_id=volume_id, capacity_range=pb.CapacityRange(required_bytes=4096 * MIB)
        )
        preallocated = {"parameters": {"preallocate": "true"}}
        refusals = [
            refused(small.create, "two", 128 * MIB, volume_content_source=source, **block),
            refused(small.controller.CreateSnapshot, snapshot, timeout=TIMEOUT),
            refused(small.create, "three", 128 * MIB, **preallocated),
        ]
        assert [code for code, _ in refusals] == [CODE.RESOURCE_EXHAUSTED] * 3
        assert all("Delete volumes or snapshots" in details for _, details in refusals), refusals
        code, details = refused(small.controller.ControllerExpandVolume, grow, timeout=TIMEOUT)
        assert (code, "larger than the whole pool" in details) == (CODE.OUT_OF_RANGE, True)
        assert (digest(image), sorted(image.parent.iterdir())) == (before, names)
        self.fill(small.folder / "disk")
        small.delete(volume_id)
        assert not small.controller.ListVolumes(pb.ListVolumesRequest(), timeout=TIMEOUT).entries
        assert list(image.parent.iterdir()) == []
        small.delete(small.create("four", SMALL, **preallocated))

    def fill(self, disk: Path) -> None:
        with (disk / "others").open("wb", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with pytest.raises(OSError, match="No space"):  # noqa: PT012
                    while True:
                        file.write(b"x" * size)


class TestFolders:
    """A repository's folder that is not there, is read-only or full, or is somebody else's."""

    HANDLE = "folder/nas/shop/daily"

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        return tmp_path / "pod" / "repository"

    @pytest.fixture(autouse=True)
    def _entry(self, driver: Driver) -> None:
        """Entries of which the first test of each kind makes what it needs."""
        rows = "".join(
            f"  - name: {name}\n    path: {driver.folder}/{name}\n    namespaces: [shop]\n"
            for name in ("nas", "missing", "readonly", "tiny")
        )
        (driver.folder / "folders.yaml").write_text(f"folders:\n{rows}")
        (driver.folder / "nas").mkdir(exist_ok=True)

    def publish(self, driver: Driver, handle: str, target: Path, **fields: Any) -> None:
        request = pb.NodePublishVolumeRequest(
            volume_id=handle,
            target_path=str(target),
            volume_capability=mount_capability(MANY),
            **fields,
        )
        driver.node.NodePublishVolume(request, timeout=TIMEOUT)

    def test_a_missing_folder_is_never_made(self, driver: Driver, target: Path) -> None:
        code, details = refused(self.publish, driver, "folder/missing/shop/daily", target)
        assert code is CODE.FAILED_PRECONDITION
        assert "Create it" in details
        assert not (driver.folder / "missing").exists()
        assert not target.exists()

    @pytest.mark.parametrize(
        ("name", "options", "expected", "words"),
        [
            ("readonly", "ro", CODE.PERMISSION_DENIED, "Mount the entry's folder writable"),
            ("tiny", "nr_inodes=1", CODE.RESOURCE_EXHAUSTED, "Make room there"),
        ],
    )
    def test_a_folder_without_room(
        self, driver: Driver, target: Path, name: str, options: str, expected: CODE, words: str
    ) -> None:
        with tmpfs(driver.folder / name, options):
            code, details = refused(self.publish, driver, f"folder/{name}/shop/daily", target)
        assert code is expected
        assert words in details
        assert not target.exists()

    def test_a_link_in_its_place_is_said(self, driver: Driver, target: Path) -> None:
        (driver.folder / "nas" / "shop").mkdir(exist_ok=True)
        (driver.folder / "nas" / "shop" / "linked").symlink_to("/etc")
        before = Path("/etc").stat()
        code, details = refused(self.publish, driver, "folder/nas/shop/linked", target)
        assert code is CODE.FAILED_PRECONDITION
        assert "link or file lies in its place" in details
        assert (Path("/etc").stat().st_gid, Path("/etc").stat().st_mode) == (
            before.st_gid,
            before.st_mode,
        )

    def test_what_is_mounted_in_its_place_is_left_alone(self, driver: Driver, target: Path) -> None:
        unpublish = pb.NodeUnpublishVolumeRequest(volume_id=self.HANDLE, target_path=str(target))
        with tmpfs(target, "size=1m"):
            (target / "stray").write_bytes(b"somebody's")
            for call in (
                lambda: self.publish(driver, self.HANDLE, target),
                lambda: driver.node.NodeUnpublishVolume(unpublish, timeout=TIMEOUT),
            ):
                code, details = refused(call)
                assert (code, "left alone" in details) == (CODE.FAILED_PRECONDITION, True)
            assert (target / "stray").read_bytes() == b"somebody's"

    def test_a_removed_folder_and_a_changed_list_are_still_unpublished(
        self, driver: Driver, target: Path
    ) -> None:
        handle = "folder/nas/shop/gone"
        self.publish(driver, handle, target)
        assert refused(self.publish, driver, handle, target, readonly=True)[0] is (
            CODE.ALREADY_EXISTS
        )
        (driver.folder / "nas" / "shop" / "gone").rmdir()
        (driver.folder / "folders.yaml").write_text("folders: []\n")
        unpublish = pb.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(target))
        for _ in range(2):
            driver.node.NodeUnpublishVolume(unpublish, timeout=TIMEOUT)
        assert not target.exists()

    def test_a_list_with_an_unknown_key_opens_nothing(self, driver: Driver, target: Path) -> None:
        (driver.folder / "folders.yaml").write_text(
            f"folders:\n  - name: nas\n    path: {driver.folder}/nas\n    namespace: [bank]\n"
        )
        code, details = refused(self.publish, driver, self.HANDLE, target)
        assert code is CODE.FAILED_PRECONDITION
        assert "unknown key 'namespace'" in details
        assert keys.CONFIG_MAP in details


def test_no_name_is_ever_a_path(driver: Driver) -> None:
    def all_paths() -> set[str]:
        return {str(path) for path in driver.folder.rglob("*")}

    before = all_paths()
    for name in ("../../../etc/x", "..", "a/b", "/etc/passwd", "vol-../x", "é" * 60, "a\tb c"):
        volume_id = driver.create(name)
        assert volume_id == ids.volume_id_for(name)
        made = all_paths() - before
        assert {Path(path).stem for path in made} == {volume_id}
        driver.delete(volume_id)
    assert all_paths() == before
