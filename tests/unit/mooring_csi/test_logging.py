"""No secret reaches a log, whatever field carries it."""

import grpc
import pytest
import structlog

from mooring_csi import sanitizing
from mooring_csi._generated import csi_pb2 as pb
from support import csi_calls

CANARY = "canary-5up3rs3cr3t"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"


def secret_messages():
    for name, message in sorted(pb.DESCRIPTOR.message_types_by_name.items()):
        if any(field.GetOptions().Extensions[pb.csi_secret] for field in message.fields):
            yield name


@pytest.mark.parametrize("name", list(secret_messages()))
def test_secrets_are_stripped_from_every_message_that_has_them(name):
    message = getattr(pb, name)(secrets={"password": CANARY})
    assert CANARY not in str(sanitizing.sanitized(message))
    assert "secrets" in sanitizing.sanitized(message)


def test_the_list_of_secret_messages_is_not_empty():
    assert {"CreateVolumeRequest", "NodeStageVolumeRequest"} <= set(secret_messages())


def test_tokens_and_mount_flags_are_stripped():
    message = pb.NodePublishVolumeRequest(
        volume_id="vol-1",
        volume_context={TOKENS: CANARY, "pool": "main"},
        publish_context={TOKENS: CANARY},
        volume_capability=csi_calls.mount_capability(mount_flags=[CANARY]),
    )
    shown = sanitizing.sanitized(message)
    assert CANARY not in str(shown)
    assert shown["volume_id"] == "vol-1"
    assert shown["volume_context"] == {"pool": "main"}


def test_nothing_of_them_is_in_a_log_line_or_an_answer(tmp_path):
    request = csi_calls.create_request(
        secrets={"password": CANARY},
        volume_capabilities=[csi_calls.mount_capability(mount_flags=[CANARY])],
    )
    with (
        structlog.testing.capture_logs() as lines,
        csi_calls.serve(tmp_path) as driver,
        pytest.raises(grpc.RpcError) as caught,
    ):
        driver.controller.CreateVolume(request)
    assert [line["code"] for line in lines] == ["INVALID_ARGUMENT"]
    assert CANARY not in str(lines)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_answers_details_are_empty(tmp_path):
    with csi_calls.serve(tmp_path) as driver, pytest.raises(grpc.RpcError) as caught:
        driver.controller.CreateVolume(pb.CreateVolumeRequest())
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata())
