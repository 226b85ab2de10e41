import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HelloResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VolumeRequest(_message.Message):
    __slots__ = ("volume_id",)
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    def __init__(self, volume_id: _Optional[str] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class CreateVolumeRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: VolumeSpec
    def __init__(self, spec: _Optional[_Union[VolumeSpec, _Mapping]] = ...) -> None: ...

class ExpandVolumeRequest(_message.Message):
    __slots__ = ("volume_id", "size_bytes")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    size_bytes: int
    def __init__(self, volume_id: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id", "name", "freeze_timeout_seconds")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FREEZE_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    name: str
    freeze_timeout_seconds: float
    def __init__(self, snapshot_id: _Optional[str] = ..., name: _Optional[str] = ..., freeze_timeout_seconds: _Optional[float] = ...) -> None: ...

class KeepBaseRequest(_message.Message):
    __slots__ = ("snapshot_id", "base")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    base: BackupBase
    def __init__(self, snapshot_id: _Optional[str] = ..., base: _Optional[_Union[BackupBase, _Mapping]] = ...) -> None: ...

class BackupBase(_message.Message):
    __slots__ = ("repository_id", "backup_id")
    REPOSITORY_ID_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    repository_id: str
    backup_id: str
    def __init__(self, repository_id: _Optional[str] = ..., backup_id: _Optional[str] = ...) -> None: ...

class ReadRangesRequest(_message.Message):
    __slots__ = ("snapshot_id", "base_snapshot_id")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    base_snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ..., base_snapshot_id: _Optional[str] = ...) -> None: ...

class SnapshotRanges(_message.Message):
    __slots__ = ("size_bytes", "trusted", "numbers")
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    size_bytes: int
    trusted: bool
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, size_bytes: _Optional[int] = ..., trusted: _Optional[bool] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class OfferSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id", "node")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    node: str
    def __init__(self, snapshot_id: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class ReadSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id", "progress")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    progress: PullProgress
    def __init__(self, snapshot_id: _Optional[str] = ..., progress: _Optional[_Union[PullProgress, _Mapping]] = ...) -> None: ...

class PullProgress(_message.Message):
    __slots__ = ("taken_at", "source_size_bytes", "done_bytes", "chain")
    TAKEN_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    taken_at: _timestamp_pb2.Timestamp
    source_size_bytes: int
    done_bytes: int
    chain: str
    def __init__(self, taken_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_size_bytes: _Optional[int] = ..., done_bytes: _Optional[int] = ..., chain: _Optional[str] = ...) -> None: ...

class SnapshotPart(_message.Message):
    __slots__ = ("opening", "piece", "ending")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    opening: SnapshotRecord
    piece: SnapshotPiece
    ending: SnapshotEnding
    def __init__(self, opening: _Optional[_Union[SnapshotRecord, _Mapping]] = ..., piece: _Optional[_Union[SnapshotPiece, _Mapping]] = ..., ending: _Optional[_Union[SnapshotEnding, _Mapping]] = ...) -> None: ...

class SnapshotPiece(_message.Message):
    __slots__ = ("offset_bytes", "content", "chain")
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    offset_bytes: int
    content: bytes
    chain: bytes
    def __init__(self, offset_bytes: _Optional[int] = ..., content: _Optional[bytes] = ..., chain: _Optional[bytes] = ...) -> None: ...

class SnapshotEnding(_message.Message):
    __slots__ = ("chain",)
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    chain: bytes
    def __init__(self, chain: _Optional[bytes] = ...) -> None: ...

class VolumeSpec(_message.Message):
    __slots__ = ("volume_id", "name", "pool", "size_bytes", "mode", "filesystem", "preallocated", "sector_size_bytes", "source_volume_id", "source_snapshot_id", "filling", "labels", "source_node")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    PREALLOCATED_FIELD_NUMBER: _ClassVar[int]
    SECTOR_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    FILLING_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    name: str
    pool: str
    size_bytes: int
    mode: str
    filesystem: str
    preallocated: bool
    sector_size_bytes: int
    source_volume_id: str
    source_snapshot_id: str
    filling: bool
    labels: _containers.ScalarMap[str, str]
    source_node: str
    def __init__(self, volume_id: _Optional[str] = ..., name: _Optional[str] = ..., pool: _Optional[str] = ..., size_bytes: _Optional[int] = ..., mode: _Optional[str] = ..., filesystem: _Optional[str] = ..., preallocated: _Optional[bool] = ..., sector_size_bytes: _Optional[int] = ..., source_volume_id: _Optional[str] = ..., source_snapshot_id: _Optional[str] = ..., filling: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., source_node: _Optional[str] = ...) -> None: ...

class VolumeRecord(_message.Message):
    __slots__ = ("spec", "state", "formatted", "created_at", "formatting", "growing_to_bytes", "pull", "trashing")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FORMATTED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FORMATTING_FIELD_NUMBER: _ClassVar[int]
    GROWING_TO_BYTES_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    TRASHING_FIELD_NUMBER: _ClassVar[int]
    spec: VolumeSpec
    state: str
    formatted: bool
    created_at: _timestamp_pb2.Timestamp
    formatting: bool
    growing_to_bytes: int
    pull: PullProgress
    trashing: Trashing
    def __init__(self, spec: _Optional[_Union[VolumeSpec, _Mapping]] = ..., state: _Optional[str] = ..., formatted: _Optional[bool] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., formatting: _Optional[bool] = ..., growing_to_bytes: _Optional[int] = ..., pull: _Optional[_Union[PullProgress, _Mapping]] = ..., trashing: _Optional[_Union[Trashing, _Mapping]] = ...) -> None: ...

class Trashing(_message.Message):
    __slots__ = ("volume_id", "deleted_at", "expires_at")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    DELETED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    deleted_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, volume_id: _Optional[str] = ..., deleted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SnapshotRecord(_message.Message):
    __slots__ = ("snapshot_id", "name", "pool", "size_bytes", "mode", "filesystem", "sector_size_bytes", "preallocated", "state", "created_at", "formatted", "base")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    SECTOR_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREALLOCATED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FORMATTED_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    name: str
    pool: str
    size_bytes: int
    mode: str
    filesystem: str
    sector_size_bytes: int
    preallocated: bool
    state: str
    created_at: _timestamp_pb2.Timestamp
    formatted: bool
    base: BackupBase
    def __init__(self, snapshot_id: _Optional[str] = ..., name: _Optional[str] = ..., pool: _Optional[str] = ..., size_bytes: _Optional[int] = ..., mode: _Optional[str] = ..., filesystem: _Optional[str] = ..., sector_size_bytes: _Optional[int] = ..., preallocated: _Optional[bool] = ..., state: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., formatted: _Optional[bool] = ..., base: _Optional[_Union[BackupBase, _Mapping]] = ...) -> None: ...

class VolumeStatus(_message.Message):
    __slots__ = ("record", "used_bytes", "published", "abnormal", "message", "extents", "writes_wait")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    ABNORMAL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXTENTS_FIELD_NUMBER: _ClassVar[int]
    WRITES_WAIT_FIELD_NUMBER: _ClassVar[int]
    record: VolumeRecord
    used_bytes: int
    published: bool
    abnormal: bool
    message: str
    extents: int
    writes_wait: bool
    def __init__(self, record: _Optional[_Union[VolumeRecord, _Mapping]] = ..., used_bytes: _Optional[int] = ..., published: _Optional[bool] = ..., abnormal: _Optional[bool] = ..., message: _Optional[str] = ..., extents: _Optional[int] = ..., writes_wait: _Optional[bool] = ...) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("name", "pool_uuid", "node", "backend", "total_bytes", "free_bytes", "provisioned_bytes", "available_bytes", "healthy", "message", "evacuation", "adopted_from", "waiting_volumes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_UUID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROVISIONED_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EVACUATION_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FROM_FIELD_NUMBER: _ClassVar[int]
    WAITING_VOLUMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pool_uuid: str
    node: str
    backend: str
    total_bytes: int
    free_bytes: int
    provisioned_bytes: int
    available_bytes: int
    healthy: bool
    message: str
    evacuation: Evacuation
    adopted_from: _containers.RepeatedScalarFieldContainer[str]
    waiting_volumes: int
    def __init__(self, name: _Optional[str] = ..., pool_uuid: _Optional[str] = ..., node: _Optional[str] = ..., backend: _Optional[str] = ..., total_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., provisioned_bytes: _Optional[int] = ..., available_bytes: _Optional[int] = ..., healthy: _Optional[bool] = ..., message: _Optional[str] = ..., evacuation: _Optional[_Union[Evacuation, _Mapping]] = ..., adopted_from: _Optional[_Iterable[str]] = ..., waiting_volumes: _Optional[int] = ...) -> None: ...

class Evacuation(_message.Message):
    __slots__ = ("use", "held_count", "held")
    USE_FIELD_NUMBER: _ClassVar[int]
    HELD_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    use: str
    held_count: int
    held: _containers.RepeatedCompositeFieldContainer[HeldItem]
    def __init__(self, use: _Optional[str] = ..., held_count: _Optional[int] = ..., held: _Optional[_Iterable[_Union[HeldItem, _Mapping]]] = ...) -> None: ...

class HeldItem(_message.Message):
    __slots__ = ("kind", "name", "what_to_do")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHAT_TO_DO_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    what_to_do: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., what_to_do: _Optional[str] = ...) -> None: ...

class Volumes(_message.Message):
    __slots__ = ("volumes",)
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    volumes: _containers.RepeatedCompositeFieldContainer[VolumeStatus]
    def __init__(self, volumes: _Optional[_Iterable[_Union[VolumeStatus, _Mapping]]] = ...) -> None: ...

class Snapshots(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[SnapshotRecord]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[SnapshotRecord, _Mapping]]] = ...) -> None: ...

class Pools(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[PoolStatus]
    def __init__(self, pools: _Optional[_Iterable[_Union[PoolStatus, _Mapping]]] = ...) -> None: ...

class SignRequest(_message.Message):
    __slots__ = ("certificate_request", "token")
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    token: str
    def __init__(self, certificate_request: _Optional[bytes] = ..., token: _Optional[str] = ...) -> None: ...

class SignResponse(_message.Message):
    __slots__ = ("certificate", "authority")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    authority: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., authority: _Optional[bytes] = ...) -> None: ...
