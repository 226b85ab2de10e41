"""CSI's SnapshotMetadata service: which blocks of a snapshot are used, and which changed.

Backup tools of others read only these. Data that became a hole is a change.
"""

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import grpc

from mooring.domain import errors, ids
from mooring.domain.extents import ImageRanges, Range
from mooring.volumes.fleet.fleet import Fleet
from mooring_csi import requests
from mooring_csi._generated import csi_pb2, csi_pb2_grpc

_RANGES_A_MESSAGE = 1024
_MOST_RANGES_A_MESSAGE = 10_000
"""A caller that asks for more gets this many: every message has to fit into gRPC's limit."""
_STYLE = csi_pb2.BlockMetadataType.VARIABLE_LENGTH

Answer = TypeVar("Answer", csi_pb2.GetMetadataAllocatedResponse, csi_pb2.GetMetadataDeltaResponse)


class SnapshotMetadata(csi_pb2_grpc.SnapshotMetadataServicer):
    """Ranges of snapshots, from the node that has them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def GetMetadataAllocated(  # noqa: N802 - the interface names the methods
        self, request: csi_pb2.GetMetadataAllocatedRequest, context: grpc.ServicerContext
    ) -> Iterator[csi_pb2.GetMetadataAllocatedResponse]:
        """Streams what of a snapshot may hold data."""
        snapshot_id = requests.snapshot_id(request.snapshot_id)
        found = self._fleet.read_ranges(snapshot_id, None)
        yield from _streamed(found, request, csi_pb2.GetMetadataAllocatedResponse)

    def GetMetadataDelta(  # noqa: N802
        self, request: csi_pb2.GetMetadataDeltaRequest, context: grpc.ServicerContext
    ) -> Iterator[csi_pb2.GetMetadataDeltaResponse]:
        """Streams what of a snapshot may differ from an earlier one of the same volume."""
        base_id: ids.SnapshotId = requests.snapshot_id(request.base_snapshot_id)
        target_id = requests.snapshot_id(request.target_snapshot_id)
        found = self._fleet.read_ranges(target_id, base_id)
        yield from _streamed(found, request, csi_pb2.GetMetadataDeltaResponse)


def _streamed(
    found: AbstractContextManager[ImageRanges],
    request: csi_pb2.GetMetadataAllocatedRequest | csi_pb2.GetMetadataDeltaRequest,
    kind: type[Answer],
) -> Iterator[Answer]:
    start, most = request.starting_offset, request.max_results
    if most < 0:
        raise errors.InvalidInput("max_results is negative")
    if start < 0:
        raise errors.SizeOutOfRange("starting_offset is negative")
    most = min(most or _RANGES_A_MESSAGE, _MOST_RANGES_A_MESSAGE)
    with found as image:
        if start > image.size_bytes:
            raise errors.SizeOutOfRange(
                f"starting_offset {start} is beyond the volume's {image.size_bytes} bytes"
            )
        ranges = iter(_from(image, start))
        some = list(itertools.islice(ranges, most))
        while True:  # also an image without any range is answered, with its size
            yield kind(
                block_metadata_type=_STYLE,
                volume_capacity_bytes=image.size_bytes,
                block_metadata=[
                    csi_pb2.BlockMetadata(byte_offset=one.offset_bytes, size_bytes=one.length_bytes)
                    for one in some
                ],
            )
            some = list(itertools.islice(ranges, most))
            if not some:
                return


def _from(image: ImageRanges, start: int) -> Iterator[Range]:
    """Yields what of the ranges lies behind an offset; the first is cut there."""
    for one in image.ranges:
        if one.end_bytes > start:
            begin = max(one.offset_bytes, start)
            yield Range(begin, one.end_bytes - begin)
