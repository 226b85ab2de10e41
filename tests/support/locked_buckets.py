"""Buckets in which nothing that was written can be taken away for a day, by nobody."""

from mooring_dev.s3_server import S3Server

_RETENTION = (
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
    b"<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>"
    b"</ObjectLockConfiguration>"
)


def locked_bucket(server: S3Server) -> str:
    """Makes a bucket whose default retention is COMPLIANCE."""
    bucket = server.new_bucket({"x-amz-bucket-object-lock-enabled": "true"})
    server.request("PUT", f"/{bucket}", query="object-lock=", body=_RETENTION)
    return bucket
