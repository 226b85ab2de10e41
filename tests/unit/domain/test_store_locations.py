"""Where repositories are, as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.domain import errors, store_locations
from mooring.domain.store_locations import BucketLocation, FolderLocation, Service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/backups", FolderLocation("/srv/backups")),
        ("backups", FolderLocation("backups")),
        ("file:///srv/my%20backups", FolderLocation("/srv/my backups")),
        ("s3://bucket", BucketLocation(Service.S3, "bucket")),
        ("s3://bucket/", BucketLocation(Service.S3, "bucket")),
        ("s3://bucket/a/b", BucketLocation(Service.S3, "bucket", "a/b")),
        (
            "s3://bucket/a?endpoint=http://127.0.0.1:9000&region=eu-west-1&virtualHosted=true",
            BucketLocation(
                Service.S3, "bucket", "a", "http://127.0.0.1:9000", "eu-west-1", virtual_hosted=True
            ),
        ),
        (
            "azure://container?account=company",
            BucketLocation(Service.AZURE, "container", account="company"),
        ),
        ("gs://bucket/x", BucketLocation(Service.GCS, "bucket", "x")),
    ],
)
def test_locations_are_read(text: str, expected: store_locations.StoreLocation) -> None:
    assert store_locations.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://bucket/x",
        "s3://",
        "s3:///x",
        "s3://Bucket",
        "s3://ab",
        "s3://bucket//x",
        "s3://bucket/../x",
        "s3://bucket/%2e%2e/x",
        "s3://bucket/a b",
        "s3://bucket:9000/x",
        "s3://bucket/x#y",
        "s3://bucket?endpoint=ftp://x",
        "s3://bucket?endpoint=http://user@host",
        "s3://bucket?account=x",
        "s3://bucket?region=a&region=b",
        "s3://bucket?region",
        "s3://bucket?virtualHosted=maybe",
        "gs://bucket?region=x",
        "azure://container?account=a/b",
        "file://host/srv",
    ],
)
def test_what_is_no_location_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        store_locations.parse(text)


def test_a_secret_in_a_location_is_refused_and_not_repeated() -> None:
    with pytest.raises(errors.InvalidInput) as raised:
        store_locations.parse("s3://key:hunter2@bucket/x")
    assert "hunter2" not in str(raised.value)


_word = st.from_regex(r"[a-z0-9]{3,20}", fullmatch=True)


@given(
    st.builds(
        BucketLocation,
        service=st.just(Service.S3),
        bucket=_word,
        prefix=st.lists(_word, max_size=3).map("/".join),
        endpoint=st.none() | _word.map(lambda host: f"https://{host}:9000/path"),
        region=st.none() | _word,
        virtual_hosted=st.booleans(),
    )
)
def test_what_is_written_is_read_back(location: BucketLocation) -> None:
    assert store_locations.parse(str(location)) == location
