"""The making of an embedded pool, broken off: begun anew, and what is there by then is adopted."""

import errno
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mooring.adapters import registry
from mooring.adapters.pool_opener import NodeFacts
from mooring.adapters.pools import image_folder
from mooring.adapters.pools.known_pools import KnownPools
from mooring.adapters.pools.ownership import Ownership
from mooring.domain import errors, ids, pools, volumes
from mooring.ports.pools import PoolConfiguration
from support import real_storage
from support.real_storage import MIB, POOL

pytestmark = pytest.mark.system

IMAGE = ids.ImageId("one")
SIZE_BYTES = 512 * MIB


class OldNodeGone:
    """A fleet whose old node was deleted."""

    def look(self, pool_uuid: str, owner: ids.NodeName) -> pools.Sighting:
        del pool_uuid, owner
        return pools.Sighting(None, pools.OwnerState.GONE)


class DyingFilesystems:
    """The process is killed after half an mkfs; the rest is the kernel's."""

    def __getattr__(self, name: str) -> object:
        return getattr(registry.kernel_host().filesystems, name)

    def make(self, device: Path, filesystem: volumes.FilesystemType, *, blank: bool) -> None:
        del filesystem, blank
        descriptor = os.open(device, os.O_RDWR)
        os.pwrite(descriptor, b"half an mkfs" * 400, 0)
        os.fsync(descriptor)
        _kill()


def _kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _opener(folder: Path, node: str, *, owned: bool = False) -> registry.PoolOpener:
    configuration = PoolConfiguration(POOL, pools.PoolBackend.REFLINK, folder / "pool", SIZE_BYTES)
    state = folder / "state"
    ownership = Ownership(ids.NodeName(node), OldNodeGone()) if owned else None
    return registry.PoolOpener(
        configuration, state, registry.kernel_host(), NodeFacts(KnownPools(state), ownership)
    )


def _no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "reserve", refuse)
        with pytest.raises(errors.SpaceExhausted):
            _opener(folder, "new").open()
    assert sorted(one.name for one in (folder / "pool").iterdir()) == ["lock"]


def _killed_while_reserving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "reserve", _kill)
        _killed(_opener(folder, "new").open)


def _killed_while_formatting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    opener = _opener(folder, "new")
    opener._ports = replace(  # type: ignore[attr-defined]
        registry.kernel_host(), filesystems=DyingFilesystems()
    )
    _killed(opener.open)


def _killed(act: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


BROKEN_OFF = pytest.mark.parametrize(
    "breaks_off", [_no_room, _killed_while_reserving, _killed_while_formatting]
)
Breaking = Callable[[Path, pytest.MonkeyPatch], None]


def _pool_of_the_old_node(folder: Path, *, owned: bool) -> str:
    opener = _opener(folder, "old", owned=owned)
    opened = opener.open()
    opened.images.allocate(IMAGE, 8 * MIB, preallocate=True)
    opener.unmount()
    return opened.pool_uuid


@BROKEN_OFF
@pytest.mark.parametrize("owned", [False, True], ids=["image alone", "with owner.json"])
def test_a_pool_that_is_put_where_a_new_one_was_broken_off_keeps_its_volumes(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, breaks_off: Breaking, owned: bool
) -> None:
    old, new = scratch / "old", scratch / "new"
    pool_uuid = _pool_of_the_old_node(old, owned=owned)
    breaks_off(new, monkeypatch)
    for name in ("pool.img", "owner.json") if owned else ("pool.img",):
        (old / "pool" / name).rename(new / "pool" / name)
    opener = _opener(new, "new", owned=owned)
    opened = opener.open()
    assert opened.pool_uuid == pool_uuid
    assert opened.images.images().keys() == {IMAGE}
    opener.unmount()
    _nothing_is_left_of_it(new)


@BROKEN_OFF
def test_the_making_of_a_pool_that_was_broken_off_is_begun_anew(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, breaks_off: Breaking
) -> None:
    breaks_off(scratch, monkeypatch)
    opener = _opener(scratch, "new")
    assert opener.open().images.capacity().total_bytes > 300 * MIB
    opener.unmount()
    _nothing_is_left_of_it(scratch)


def _nothing_is_left_of_it(folder: Path) -> None:
    assert not [one.name for one in (folder / "pool").iterdir() if "pool.img." in one.name]
    assert real_storage.attached_below(folder) == []


def test_a_mark_of_an_older_version_lets_nothing_be_formatted(scratch: Path) -> None:
    pool_uuid = _pool_of_the_old_node(scratch, owned=False)
    (scratch / "pool" / "pool.img.new").touch()
    opener = _opener(scratch, "new")
    opened = opener.open()
    assert opened.pool_uuid == pool_uuid
    assert opened.images.images().keys() == {IMAGE}
    opener.unmount()
    assert not (scratch / "pool" / "pool.img.new").exists(), "an older version would format it"


def test_half_a_pool_of_an_older_version_is_left_as_it_is(scratch: Path) -> None:
    image = scratch / "pool" / "pool.img"
    image.parent.mkdir()
    image.with_name("pool.img.new").touch()
    with image.open("wb") as file:
        file.write(b"half an mkfs")
        file.truncate(SIZE_BYTES)
    with pytest.raises(errors.DataCorrupt, match="unknown content"):
        _opener(scratch, "new").open()
    with image.open("rb") as file:
        assert file.read(12) == b"half an mkfs"


def test_a_pool_that_comes_while_a_new_one_is_made_is_adopted(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = scratch / "old", scratch / "new"
    pool_uuid = _pool_of_the_old_node(old, owned=False)
    reserve = image_folder.reserve

    def put_there(descriptor: int, offset_bytes: int, length_bytes: int) -> None:
        reserve(descriptor, offset_bytes, length_bytes)
        (old / "pool" / "pool.img").rename(new / "pool" / "pool.img")

    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "reserve", put_there)
        opener = _opener(new, "new")
        assert opener.open().pool_uuid == pool_uuid
    opener.unmount()
    _nothing_is_left_of_it(new)


def test_a_link_that_leads_nowhere_is_no_place_for_a_new_pool(scratch: Path) -> None:
    (scratch / "pool").mkdir()
    (scratch / "pool" / "pool.img").symlink_to(scratch / "not-mounted" / "pool.img")
    with pytest.raises(errors.MooringError):
        _opener(scratch, "new").open()
    assert (scratch / "pool" / "pool.img").is_symlink()


def test_an_older_agent_does_not_grow_a_newer_pool(scratch: Path) -> None:
    first = _opener(scratch, "new")
    first.open()
    identity = scratch / "state" / "pools" / POOL / "pool.json"
    document = json.loads(identity.read_text()) | {"format_version": 2}
    identity.write_text(json.dumps(document))
    first.unmount()
    image = scratch / "pool" / "pool.img"
    before = image.stat().st_size
    configuration = PoolConfiguration(
        POOL, pools.PoolBackend.REFLINK, scratch / "pool", 2 * SIZE_BYTES
    )
    opener = registry.PoolOpener(configuration, scratch / "state", registry.kernel_host())
    opened = opener.open()
    assert "newer Mooring" in opened.read_only
    assert image.stat().st_size == before
    opener.unmount()
