"""How a bucket is reached: certificates, credentials in files and in the environment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.adapters.blobstores import object_clients, opening
from mooring.adapters.blobstores.object_clients import BucketAccess
from mooring.adapters.blobstores.object_store import ObjectBlobStore
from mooring.domain import errors, store_locations
from mooring_dev import s3_server
from mooring_dev.s3_server import ADMINISTRATOR, S3Server

HASTY = object_clients.Limits(connect_seconds=10, answer_seconds=20, patience_seconds=0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3") / "server", tls=True) as running:
        yield running


@pytest.fixture
def location(server: S3Server) -> store_locations.BucketLocation:
    return server.location(server.new_bucket(), prefix="a")


@pytest.fixture
def credentials(server: S3Server) -> Path:
    return ADMINISTRATOR.write_to(server.folder / "administrator")


def test_a_certificate_of_an_own_authority_has_to_be_given(
    server: S3Server, location: store_locations.BucketLocation, credentials: Path
) -> None:
    stranger = ObjectBlobStore(BucketAccess(location, credentials, limits=HASTY))
    with pytest.raises(errors.Unreachable, match="authority that signed it"):
        stranger.put("config", b"x")
    trusting = ObjectBlobStore(BucketAccess(location, credentials, server.authority, HASTY))
    trusting.put("config", b"x")
    assert trusting.get("config", limit_bytes=1) == b"x"


def test_a_server_that_speaks_tls_is_not_spoken_to_without(
    server: S3Server, location: store_locations.BucketLocation, credentials: Path
) -> None:
    plain = server.location(location.bucket, endpoint=server.endpoint.replace("https", "http"))
    with pytest.raises(errors.MooringError):
        ObjectBlobStore(BucketAccess(plain, credentials, limits=HASTY)).put("config", b"x")


def test_credentials_come_from_the_environment(
    server: S3Server, location: store_locations.BucketLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ADMINISTRATOR.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ADMINISTRATOR.secret_key)
    store = opening.open_store(location, ca_bundle=server.authority)
    store.put("config", b"x")
    assert store.get("config", limit_bytes=1) == b"x"


def test_files_of_credentials_go_before_the_environment(
    server: S3Server,
    location: store_locations.BucketLocation,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "wrong")
    store = opening.open_store(location, credentials=credentials, ca_bundle=server.authority)
    store.put("config", b"x")


def test_what_is_missing_is_named(location: store_locations.BucketLocation, tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("x")
    with pytest.raises(errors.NotFound, match="AWS_SECRET_ACCESS_KEY"):
        ObjectBlobStore(BucketAccess(location, tmp_path))
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("x")
    with pytest.raises(errors.NotFound, match=r"ca\.pem"):
        ObjectBlobStore(BucketAccess(location, tmp_path, tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(errors.InvalidInput, match="certificates"):
        ObjectBlobStore(BucketAccess(location, tmp_path, tmp_path / "ca.pem"))


@pytest.mark.parametrize("url", ["azure://container/x?account=company", "gs://bucket/x"])
def test_credentials_of_another_form_are_refused(url: str, tmp_path: Path) -> None:
    location = store_locations.parse(url)
    assert isinstance(location, store_locations.BucketLocation)
    with pytest.raises(errors.NotFound, match="lack"):
        ObjectBlobStore(BucketAccess(location, tmp_path))
    (tmp_path / "AZURE_STORAGE_ACCOUNT_KEY").write_text("no base64 !")
    (tmp_path / "GOOGLE_SERVICE_ACCOUNT_KEY").write_text("no JSON")
    with pytest.raises(errors.InvalidInput, match="credentials"):
        ObjectBlobStore(BucketAccess(location, tmp_path))
