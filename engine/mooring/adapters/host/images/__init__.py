"""Filesystems in images that somebody else holds: looked into read-only, and files copied out.

The image is one file of a FUSE filesystem, which the process that holds it serves. A second
process attaches it to a loop device and mounts that, so that the first never waits for itself.
Nothing of it has a name, a mount shown to people excepted: when both end, in whatever way, the
kernel takes all of it away.
"""
