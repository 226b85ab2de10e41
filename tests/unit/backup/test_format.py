"""The bytes of format 1: what is written is read, and nothing else is."""

import base64
import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.backup.format import (
    chunks,
    config,
    keys,
    layout,
    manifests,
    packs,
    sealed,
    segments,
    slots,
    trees,
)
from mooring.domain import backups, errors

KEYS = keys.RepositoryKeys(bytes(32), bytes(16))
OTHER_REPOSITORY = keys.RepositoryKeys(bytes(32), b"\1" * 16)
ID_KEY = KEYS.id_key(layout.BlobKind.DATA)
SALT = b"s" * 32
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(st.binary(min_size=1, max_size=20_000), st.integers(1, 20))
def test_a_chunk_comes_back(data: bytes, repeat: int) -> None:
    content = data * repeat
    stored = chunks.ChunkEncoder().encode(memoryview(content))
    assert len(stored) <= len(content)
    ident = chunks.chunk_id(ID_KEY, content)
    assert chunks.ChunkDecoder().decode(stored, len(content), ident, ID_KEY) == content


def test_what_does_not_compress_is_stored_raw_and_compression_resumes() -> None:
    noise = bytes(chunks.chunk_id(ID_KEY, bytes([i]))[0] for i in range(256)) * 1
    noise = b"".join(chunks.chunk_id(ID_KEY, noise + struct.pack("<I", i)) for i in range(2048))
    text = b"all work and no play " * 3000
    encoder = chunks.ChunkEncoder()
    sizes = [len(encoder.encode(memoryview(data))) for data in (noise, noise, text, text)]
    assert sizes[:2] == [len(noise), len(noise)]
    assert sizes[2] == sizes[3] < len(text) / 10


@pytest.mark.parametrize("wrong", [b"", b"short", b"\x28\xb5\x2f\xfd garbage", b"x" * 99])
def test_a_wrong_chunk_is_refused(wrong: bytes) -> None:
    content = b"y" * 99
    ident = chunks.chunk_id(ID_KEY, content)
    with pytest.raises(errors.DataCorrupt):
        chunks.ChunkDecoder().decode(wrong, len(content), ident, ID_KEY)


def test_a_frame_that_claims_another_size_is_not_expanded() -> None:
    bomb = chunks.ChunkEncoder().encode(memoryview(bytes(64 << 20)))
    with pytest.raises(errors.DataCorrupt):
        chunks.ChunkDecoder().decode(bomb, 65536, bytes(32), ID_KEY)


def test_ids_of_chunks_and_nodes_differ() -> None:
    content = bytes(range(256)) * 64
    kinds = (layout.BlobKind.DATA, layout.BlobKind.NODE)
    assert len({chunks.chunk_id(KEYS.id_key(kind), content) for kind in kinds}) == 2


def build_pack(blobs: list[bytes], name: bytes = b"n" * 16) -> bytes:
    cipher = packs.PackCipher(KEYS, name, SALT)
    data = bytearray(cipher.header())
    entries = []
    for blob in blobs:
        entry = packs.PackEntry(
            layout.BlobKind.DATA,
            chunks.chunk_id(ID_KEY, blob),
            len(data),
            len(blob) + layout.TAG_BYTES,
            len(blob),
        )
        sealed_blob = bytearray(entry.length)
        cipher.seal_into(entry, blob, sealed_blob)
        data += sealed_blob
        entries.append(entry)
    return bytes(data + cipher.seal_footer(entries, len(data)))


def read_pack(data: bytes, name: bytes = b"n" * 16) -> list[bytes]:
    salt = packs.parse_header(data[: packs.HEADER_BYTES])
    cipher = packs.PackCipher(KEYS, name, salt)
    offset, length = packs.footer_range(data[-packs.TRAILER_BYTES :], len(data))
    entries = cipher.unseal_footer(data[offset : offset + length], offset)
    return [
        cipher.unseal(entry, data[entry.offset : entry.offset + entry.length]) for entry in entries
    ]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_pack_says_what_is_in_it(blobs: list[bytes]) -> None:
    assert read_pack(build_pack(blobs)) == blobs


def test_every_flipped_byte_of_a_pack_is_noticed() -> None:
    data = build_pack([b"first", b"", b"third chunk"])
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1
        with pytest.raises(errors.DataCorrupt):
            read_pack(bytes(broken))


def test_every_truncated_pack_is_noticed() -> None:
    data = build_pack([b"first", b"second"])
    for length in range(len(data)):
        with pytest.raises(errors.DataCorrupt):
            read_pack(data[:length])


def test_a_renamed_pack_does_not_open() -> None:
    with pytest.raises(errors.DataCorrupt):
        read_pack(build_pack([b"first"]), name=b"m" * 16)


@pytest.mark.parametrize("field", ["ident", "offset", "kind"])
def test_a_blob_is_bound_to_its_place(field: str) -> None:
    cipher = packs.PackCipher(KEYS, b"n" * 16, SALT)
    entry = packs.PackEntry(layout.BlobKind.DATA, b"i" * 32, 40, 21, 5)
    data = bytearray(21)
    cipher.seal_into(entry, b"hello", data)
    assert cipher.unseal(entry, data) == b"hello"
    other: dict[str, Any] = {"ident": b"j" * 32, "offset": 41, "kind": layout.BlobKind.NODE}
    with pytest.raises(errors.DataCorrupt):
        cipher.unseal(entry._replace(**{field: other[field]}), data)


idents = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(idents, numbers, numbers, numbers, numbers), max_size=50))
def test_a_segment_comes_back_sorted(entries: list[tuple[bytes, int, int, int, int]]) -> None:
    listed = [segments.PackInfo(b"p" * 16, b"s" * 32, 1234), segments.PackInfo(b"q" * 16, SALT, 0)]
    content = segments.encode(listed, [segments.ENTRY.pack(*entry) for entry in entries])
    read_packs, read_entries = segments.decode(content, "index/x")
    assert read_packs == listed
    ids = [entry[0] for entry in segments.iterate(read_entries)]
    assert ids == sorted(ids)
    assert sorted(segments.iterate(read_entries)) == sorted(entries)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 7, struct.pack("<II", 2**32 - 1, 2**32 - 1), struct.pack("<II", 0, 1),
     struct.pack("<II16s32sQ", 1, 0, b"", b"", 1 << 60), b"\0" * 9],
)  # fmt: skip
def test_a_segment_that_cannot_be_is_refused(content: bytes) -> None:
    with pytest.raises(errors.DataCorrupt):
        segments.decode(content, "index/x")


def naive_root(leaves: list[bytes], levels: int, name: Any) -> bytes:
    """The root as the page of the format defines it, level by level, all in memory."""
    ids = [name(leaf) if any(leaf) else bytes(32) for leaf in leaves]
    for _ in range(levels - 1):
        groups = [ids[i : i + 512] for i in range(0, len(ids), 512)]
        nodes = [b"".join(group).ljust(16384, b"\0") for group in groups]
        ids = [name(node) if any(node) else bytes(32) for node in nodes]
    assert len(ids) == 1
    return ids[0]


@settings(max_examples=25, deadline=None)
@given(
    st.one_of(st.integers(1, 5000), st.integers(262_100, 262_700)),
    st.dictionaries(st.integers(0, 10**6), idents, max_size=30),
)
def test_the_tree_equals_the_naive_one(chunk_count: int, placed: dict[int, bytes]) -> None:
    leaf_count = trees.leaf_count(chunk_count)
    leaves = [bytearray() for _ in range(leaf_count)]
    for number, ident in placed.items():
        place = number % chunk_count
        leaf = leaves[place // 512]
        leaf[:] = leaf.ljust(512 * 32, b"\0")
        leaf[place % 512 * 32 : place % 512 * 32 + 32] = ident
    emitted: dict[bytes, bytes] = {}

    def name(node: bytes) -> bytes:
        return chunks.chunk_id(ID_KEY, node)

    def emit(_level: int, _index: int, node: bytes) -> bytes:
        emitted[name(node)] = node
        return name(node)

    builder = trees.TreeBuilder(chunk_count, emit)
    for index, leaf in enumerate(leaves):
        if leaf:
            builder.put_leaf(index, bytes(leaf).rstrip(b"\0"))
    root = builder.finish()
    whole = [bytes(leaf).ljust(trees.NODE_BYTES, b"\0") for leaf in leaves]
    assert root == naive_root(whole, trees.level_count(chunk_count), name)
    assert trees.ZERO_NODE not in emitted.values()
    assert root == layout.ZERO_ID or root in emitted


def test_leaves_out_of_order_are_a_mistake() -> None:
    builder = trees.TreeBuilder(1000, lambda *_: b"x" * 32)
    builder.put_leaf(1, b"")
    for index in (0, 1, 2):
        with pytest.raises(ValueError, match=f"leaf {index} of 2 came after leaf 1"):
            builder.put_leaf(index, b"")


@pytest.mark.parametrize(
    ("chunk_count", "levels"), [(1, 1), (512, 1), (513, 2), (512**2, 2), (512**2 + 1, 3)]
)
def test_levels(chunk_count: int, levels: int) -> None:
    assert trees.level_count(chunk_count) == levels


def test_every_flipped_byte_of_a_sealed_object_is_noticed() -> None:
    data = sealed.seal(KEYS, "manifests/one", b"content", SALT)
    assert sealed.unseal(KEYS, "manifests/one", data) == b"content"
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        with pytest.raises(errors.DataCorrupt, match="is damaged"):
            sealed.unseal(KEYS, "manifests/one", bytes(broken))
    for length in range(len(data)):
        with pytest.raises(errors.DataCorrupt):
            sealed.unseal(KEYS, "manifests/one", data[:length])


def test_a_sealed_object_is_bound_to_name_and_repository() -> None:
    data = sealed.seal(KEYS, "manifests/one", b"content", SALT)
    with pytest.raises(errors.DataCorrupt):
        sealed.unseal(KEYS, "manifests/two", data)
    with pytest.raises(errors.DataCorrupt):
        sealed.unseal(OTHER_REPOSITORY, "manifests/one", data)


def test_a_sealed_object_of_a_newer_format_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(layout, "FORMAT_NUMBER", 2)
        data = sealed.seal(KEYS, "manifests/one", b"content", SALT)
    with pytest.raises(errors.Unsupported, match="newer"):
        sealed.unseal(KEYS, "manifests/one", data)


MANIFEST = backups.BackupManifest(
    backup_id=backups.BackupId("bk-1"),
    volume=backups.VolumeFacts("vol-1", 1 << 30, 4096, "xfs", "uuid-1"),
    chunk_size_bytes=65536,
    consistency="Filesystem",
    point_in_time=MOMENT,
    finished_at=MOMENT,
    parent=backups.BackupId("bk-0"),
    session=backups.SessionId("bk-1.0123456789abcdef"),
    root=b"r" * 32,
    origins=(
        backups.SessionId("bk-1.0123456789abcdef"),
        backups.SessionId("bk-0.0123456789abcdef"),
    ),
    documents={"persistentVolumeClaim": {"spec": {"x": [1, None, "ü"]}}},
    tool_version="0.1.0",
    stats=backups.BackupStats(1, 2, 3, 4, 5.5),
    scrub=backups.ScrubRecord(
        7, 8, True, True, (backups.SuspectPlace(9, 10, backups.BackupId("bk-0"), MOMENT),)
    ),
)
SESSION = backups.BackupSession(
    session_id=backups.SessionId("bk-1.0123456789abcdef"),
    backup_id=backups.BackupId("bk-1"),
    volume_uid="vol-1",
    chunk_size_bytes=65536,
    started_at=MOMENT,
    parents=(backups.SessionPin(backups.BackupId("bk-0"), b"r" * 32, 99),),
    sessions=(backups.SessionId("bk-1.0000000000000000"),),
    tool_version="0.1.0",
)


def test_a_manifest_comes_back() -> None:
    assert manifests.decode_manifest(manifests.encode_manifest(MANIFEST), "m") == MANIFEST


def test_a_session_comes_back() -> None:
    assert manifests.decode_session(manifests.encode_session(SESSION), "s") == SESSION


def changed(content: bytes, path: str, value: object) -> bytes:
    values = json.loads(content)
    inner = values
    *parents, last = path.split(".")
    for part in parents:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("volume.size", 0), ("volume.size", -1), ("volume.size", 1 << 61), ("volume.size", "1"),
        ("volume.size", True), ("volume.size", ...), ("volume.sectorSize", 0), ("volume", None),
        ("chunkSize", 0), ("chunkSize", 65537), ("chunkSize", 1 << 30), ("chunkSize", 1.0),
        ("root", "ab"), ("root", "zz" * 32), ("session", "../x"), ("origins", ["../../etc"]),
        ("backup", "../x"), ("parent", "A"), ("pointInTime", "yesterday"),
        ("pointInTime", "2026-01-01T00:00:00"), ("documents", 7), ("stats", []),
        ("stats.bytesRead", -1), ("format", "1"), ("format", 0), ("requires", None),
        ("consistency", 1),
    ],
)  # fmt: skip
def test_a_manifest_that_says_what_cannot_be_is_refused(path: str, value: object) -> None:
    with pytest.raises(errors.DataCorrupt):
        manifests.decode_manifest(changed(manifests.encode_manifest(MANIFEST), path, value), "m")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(errors.DataCorrupt):
        manifests.decode_manifest(content, "m")


@pytest.mark.parametrize(("path", "value"), [("requires", ["holes"]), ("format", 2)])
def test_a_manifest_that_needs_a_newer_mooring_is_refused(path: str, value: object) -> None:
    with pytest.raises(errors.Unsupported):
        manifests.decode_manifest(changed(manifests.encode_manifest(MANIFEST), path, value), "m")


def test_a_manifest_of_before_there_was_a_scrub_is_read() -> None:
    content = changed(manifests.encode_manifest(MANIFEST), "scrub", ...)
    assert manifests.decode_manifest(content, "m") == replace(MANIFEST, scrub=backups.ScrubRecord())


@pytest.mark.parametrize(
    ("place", "coarse"),
    [
        ({"length": 10}, False),
        ({"length": MANIFEST.volume.size_bytes}, True),
        ({"length": MANIFEST.volume.size_bytes, "coarse": False}, False),
        ({"length": 10, "coarse": True}, True),
    ],
)
def test_places_of_writers_that_knew_no_coarse_ones_are_read(
    place: dict[str, object], coarse: bool
) -> None:
    value = {"offset": 0, "good": "bk-0", "goodAt": MOMENT.isoformat(), **place}
    old = changed(manifests.encode_manifest(MANIFEST), "scrub.suspect", [value] * 1000)
    places = manifests.decode_manifest(old, "m").scrub.suspect
    assert {one.coarse for one in places[:999]} == {coarse}
    assert places[999].coarse == (coarse or "coarse" not in place)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scrub", None), ("scrub.next", -1), ("scrub.doubted", 1), ("scrub.whole", ...),
        ("scrub.suspect", None), ("scrub.suspect", [{}]),
        ("scrub.suspect", [{"offset": 0, "length": 1, "good": "../x", "goodAt": str(MOMENT)}]),
    ],
)  # fmt: skip
def test_a_scrub_that_says_what_cannot_be_is_refused(path: str, value: object) -> None:
    with pytest.raises(errors.DataCorrupt):
        manifests.decode_manifest(changed(manifests.encode_manifest(MANIFEST), path, value), "m")


def test_unknown_optional_fields_are_ignored() -> None:
    content = changed(manifests.encode_manifest(MANIFEST), "colour", "blue")
    assert manifests.decode_manifest(content, "m") == MANIFEST


SECRET = slots.Unlock(secret=b"k" * 32)
WORDS = slots.Unlock(passphrase="correct horse")


def make_config() -> config.RepositoryConfig:
    context = config.slot_context(bytes(16), 65536)
    wrapped = tuple(
        slots.wrap(unlock, b"K" * 32, context, salt)
        for unlock, salt in ((SECRET, SALT), (WORDS, b"t" * 32))
    )
    return config.RepositoryConfig(bytes(16), 65536, MOMENT, wrapped)


def test_a_config_is_read_back() -> None:
    assert config.decode(config.encode(make_config())) == make_config()


def test_a_config_holds_no_key_in_plain() -> None:
    text = config.encode(make_config())
    for secret in (b"K" * 32, b"k" * 32):
        assert secret not in text
        assert secret.hex().encode() not in text
    assert b"correct horse" not in text
    assert "correct" not in repr(WORDS)


def test_every_changed_letter_of_a_config_is_noticed() -> None:
    data = config.encode(make_config())
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 4
        try:
            read = config.decode(bytes(broken))
        except (errors.DataCorrupt, errors.Unsupported):
            continue
        assert read == make_config()  # white space, or the case of a hexadecimal digit


def test_a_passphrase_slot_that_would_eat_all_memory_is_refused() -> None:
    hostile = dict(make_config().slots[1], n=1 << 30)
    with pytest.raises(errors.DataCorrupt):
        slots.unwrap(WORDS, hostile, b"")


@pytest.mark.parametrize(("name", "value"), [("format", 2), ("requires", ["x"])])
def test_a_newer_repository_is_refused(name: str, value: object) -> None:
    with pytest.raises(errors.Unsupported, match="newer"):
        config.decode(changed(config.encode(make_config()), name, value))


@pytest.mark.parametrize(
    "content",
    [b"k" * 32, (b"k" * 32).hex().encode() + b"\n", base64.b64encode(b"k" * 32) + b"\n"],
)
def test_key_files(content: bytes) -> None:
    assert slots.parse_key_file(content) == b"k" * 32


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33, b"z" * 64, b"!" * 44])
def test_a_key_file_without_a_key_is_refused(content: bytes) -> None:
    with pytest.raises(errors.InvalidInput, match="openssl rand"):
        slots.parse_key_file(content)


@pytest.mark.parametrize("key", ["packs/ab/" + "ab" * 16, "index/bk-1.0123456789abcdef/d00000000"])
def test_names_of_objects_are_parsed_back(key: str) -> None:
    name = layout.pack_name(key)
    parts = layout.segment_parts(key)
    if name is not None:
        assert layout.pack_key(name) == key
    else:
        assert parts is not None
        assert layout.segment_key(parts[0], parts[1], 0) == key


@pytest.mark.parametrize("key", ["packs/ab/" + "cd" * 16, "packs/x", "index/a/d1", "config"])
def test_other_names_are_not_taken_for_them(key: str) -> None:
    assert layout.pack_name(key) is None
    assert layout.segment_parts(key) is None
