"""What the tests of buckets share."""

from support.faulty_bucket import proxy, server

__all__ = ["proxy", "server"]
