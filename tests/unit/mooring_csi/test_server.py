import stat
import threading

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.domain import errors
from mooring_csi import controller, registration, server
from mooring_csi._generated import plugin_registration_pb2 as pb
from mooring_csi._generated import plugin_registration_pb2_grpc as rpc


def test_a_second_server_cannot_take_a_socket(tmp_path):
    path = tmp_path / "csi" / "csi.sock"
    first, second = server.SocketServer(path, []), server.SocketServer(path, [])
    first.start()
    with pytest.raises(errors.InUse, match="another process serves"):
        second.start()
    assert path.is_socket(), "the second server took the first one's socket away"
    first.stop(0)
    second.start()
    second.stop(0)
    assert not path.exists()


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path):
    path = tmp_path / "csi.sock"
    path.write_text("left behind")
    serving = server.SocketServer(path, [])
    serving.start()
    assert path.is_socket()
    serving.stop(0)


def test_folder_and_socket_are_not_for_everybody(tmp_path):
    path = tmp_path / "new" / "csi.sock"
    serving = server.SocketServer(path, [])
    serving.start()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    serving.stop(0)


@pytest.mark.parametrize("endpoint", ["unix:///a/b.sock", "unix:/a/b.sock", "/a/b.sock"])
def test_endpoints(endpoint):
    assert str(server.socket_path(endpoint)) == "/a/b.sock"


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:1", "b.sock", "unix://b.sock", ""])
def test_other_endpoints_are_refused(endpoint):
    with pytest.raises(errors.InvalidInput):
        server.socket_path(endpoint)


def test_a_path_too_long_for_the_kernel_is_one_clear_error(tmp_path):
    with pytest.raises(errors.HostFailure, match="too long"):
        server.SocketServer(tmp_path / ("x" * 120) / "csi.sock", []).start()


class Kubelet:
    """Finds the registration socket and calls it, as the kubelet does."""

    def __init__(self, folder):
        self.path = folder / "csi.mooring.dev-reg.sock"

    def wait_for_socket(self, *, other_than: int | None = None) -> int:
        pause = threading.Event()
        for _ in range(400):
            if self.path.is_socket() and self.path.stat().st_ino != other_than:
                return self.path.stat().st_ino
            pause.wait(0.01)
        raise AssertionError("there is no new registration socket")

    def call(self, registered: bool, error: str = ""):
        with grpc.insecure_channel(
            f"unix:{self.path}", options=(("grpc.default_authority", "localhost"),)
        ) as channel:
            stub = rpc.RegistrationStub(channel)
            found = stub.GetInfo(pb.InfoRequest(), timeout=5, wait_for_ready=True)
            stub.NotifyRegistrationStatus(
                pb.RegistrationStatus(plugin_registered=registered, error=error), timeout=5
            )
            return found


def test_the_kubelet_learns_name_socket_and_version(tmp_path):
    kubelet = Kubelet(tmp_path)
    registrar = registration.Registrar(tmp_path, "/plugins/csi.sock", retry_seconds=0.05)
    registrar.start()
    kubelet.wait_for_socket()
    found = kubelet.call(registered=True)
    assert (found.type, found.name) == ("CSIPlugin", "csi.mooring.dev")
    assert (found.endpoint, list(found.supported_versions)) == ("/plugins/csi.sock", ["1.0.0"])
    registrar.stop()
    assert not kubelet.path.exists()


def test_a_refusal_makes_the_socket_anew(tmp_path):
    kubelet = Kubelet(tmp_path)
    registrar = registration.Registrar(tmp_path, "/plugins/csi.sock", retry_seconds=0.3)
    registrar.start()
    first = kubelet.wait_for_socket()
    kubelet.call(registered=False, error="no such driver")
    gone = threading.Event()
    for _ in range(400):
        if not kubelet.path.exists():
            break
        gone.wait(0.005)
    else:
        pytest.fail(f"socket {first} was never taken away")
    kubelet.wait_for_socket()
    kubelet.call(registered=True)
    registrar.stop()


@given(
    st.lists(st.integers(0, 10**6), unique=True).map(sorted),
    st.integers(1, 7),
    st.data(),
)
@settings(max_examples=60)
def test_pages_hold_everything_once_whatever_comes_and_goes(items, limit, data):
    """What exists during the whole listing is seen exactly once."""
    names = [f"{item:07d}" for item in items]
    doomed = set(data.draw(st.lists(st.sampled_from(names)))) if names else set()
    present, seen, after = names, [], ""
    while True:
        page, after = controller._page(present, str, limit, after)
        seen += page
        assert len(page) <= limit
        if not after:
            break
        present = [name for name in names if name not in doomed]
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(names) - doomed
