"""The life of volumes on one node: each use case writes its intent, acts, and records the end.

`node.LocalNode` is the door; the other modules hold one use case each.
"""
