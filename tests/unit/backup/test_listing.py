"""Pages of a repository: every backup of the namespace once, and nothing of another's."""

import json
from pathlib import Path
from typing import Any

import pytest

from mooring.backup import capture, devices, listing, progress
from mooring.domain import backups
from mooring.planning import listed_backups
from support.backup_engine import Engine


def claim(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


class Listed(Engine):
    """A repository that several namespaces' backups lie in."""

    def add(self, backup_id: str, documents: dict[str, Any]) -> None:
        image = self.folder / "image"
        image.write_bytes(b"x" * 1000)
        with devices.VolumeSource(image) as source:
            request = capture.BackupRequest(
                backup_id=backups.parse_backup_id(backup_id),
                volume=backups.VolumeFacts("vol-1", 1000),
                point_in_time=self.clock.now(),
                documents=documents,
            )
            capture.back_up(self.open(), source, request, progress.Watch())

    def pages(self, namespace: str, limit: int) -> list[listing.Page]:
        found = [listing.read_page(self.open(), namespace, None, limit)]
        while found[-1].next_after is not None:
            found.append(listing.read_page(self.open(), namespace, found[-1].next_after, limit))
        return found


@pytest.fixture
def engine(tmp_path: Path) -> Listed:
    return Listed(tmp_path)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_hold_every_backup_of_the_namespace_once(engine: Listed, limit: int) -> None:
    for number in range(5):
        namespace = "shop" if number % 2 == 0 else "bank"
        engine.add(f"bk-{number}", {"persistentVolumeClaim": claim("data", namespace)})
    engine.add("bk-cli", {})
    pages = engine.pages("shop", limit)
    found = [entry["backupId"] for page in pages for entry in page.entries]
    assert found == ["bk-0", "bk-2", "bk-4"]
    assert sum(page.skipped for page in pages) == 3
    assert all(len(page.entries) + page.skipped <= limit for page in pages)


def test_an_entry_says_what_the_volume_was(engine: Listed) -> None:
    documents = {
        "persistentVolumeClaim": claim("data", "shop", volumeMode="Block", storageClassName="fast"),
        "storageClass": {"kind": "StorageClass"},
        "volumeClaim": None,
    }
    engine.add("bk-1", documents)
    (page,) = engine.pages("shop", 10)
    (entry,) = page.entries
    assert (entry["claimName"], entry["volumeMode"]) == ("data", "Block")
    assert (entry["storageClassName"], entry["bytesTotal"]) == ("fast", 1000)
    assert set(entry["manifests"]) == {"persistentVolumeClaim", "storageClass"}
    assert page.summary()["digest"] == listed_backups.digest(json.loads(json.dumps(page.entries)))


def test_what_cannot_be_read_is_counted_and_passed(engine: Listed) -> None:
    for number in range(3):
        engine.add(f"bk-{number}", {"persistentVolumeClaim": claim("data", "shop")})
    engine.damage("manifests/bk-1", lambda data: data.reverse())
    (page,) = engine.pages("shop", 10)
    assert [entry["backupId"] for entry in page.entries] == ["bk-0", "bk-2"]
    assert page.skipped == 1


def test_large_manifests_are_left_out_and_large_pages_cut(engine: Listed) -> None:
    big = {"metadata": {"name": "x", "labels": {"a": "b" * 20_000}}}
    documents = {"persistentVolumeClaim": claim("data", "shop"), "volumeClaim": big}
    engine.add("bk-big", documents)
    (page,) = engine.pages("shop", 10)
    assert page.entries[0]["manifests"] == {}
    assert page.entries[0]["claimName"] == "data"
    wide = {"metadata": {"name": "x", "labels": {"a": "b" * 15_000}}}
    for number in range(40):
        engine.add(f"bk-{number:02}", {"persistentVolumeClaim": claim("data", "shop"), "v": wide})
    pages = engine.pages("shop", 100)
    assert len(pages) == 2
    assert max(len(json.dumps(page.entries)) for page in pages) < 600_000
    assert sum(len(page.entries) for page in pages) == 41


@pytest.mark.parametrize("documents", [{"persistentVolumeClaim": 5}, {"persistentVolumeClaim": {}}])
def test_odd_documents_are_skipped(engine: Listed, documents: dict[str, Any]) -> None:
    engine.add("bk-1", documents)
    (page,) = engine.pages("shop", 10)
    assert (page.entries, page.skipped) == ([], 1)
