"""Which of the kubelet's paths belong to a pod, and which are a stage."""

from pathlib import Path

import pytest

from mooring.planning import kubelet_paths

POD = "0f8fad5b-d9cb-469f-a165-70867728950e"
CSI = "/var/lib/kubelet/plugins/kubernetes.io/csi"


@pytest.mark.parametrize(
    "target",
    [
        f"/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/pvc-1/mount",
        f"{CSI}/volumeDevices/publish/pvc-1/{POD}",
    ],
)
def test_a_target_leads_to_its_pods_folder(target: str) -> None:
    assert kubelet_paths.pod_folder_of(Path(target)) == Path(f"/var/lib/kubelet/pods/{POD}")
    assert not kubelet_paths.is_stage(Path(target))


@pytest.mark.parametrize(
    "target",
    [
        f"/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/pvc-1/mount/data",
        f"/var/lib/kubelet/pods/{POD}/volume-subpaths/pvc-1/main/0",
        f"/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~nfs/pvc-1/mount",
        "/var/lib/kubelet/pods/not-a-uid/volumes/kubernetes.io~csi/pvc-1/mount",
        f"{CSI}/volumeDevices/staging/pvc-1",
        f"{CSI}/volumeDevices/pvc-1/dev/{POD}",
        f"{CSI}/csi.mooring.dev/{'0' * 64}/globalmount",
        "/mnt/mount",
    ],
)
def test_nothing_else_is_a_pods(target: str) -> None:
    assert kubelet_paths.pod_folder_of(Path(target)) is None


def test_a_stage_is_known_by_its_name() -> None:
    assert kubelet_paths.is_stage(Path(f"{CSI}/csi.mooring.dev/{'0' * 64}/globalmount"))
    assert not kubelet_paths.is_stage(Path(f"{CSI}/csi.mooring.dev/globalmount"))
    assert not kubelet_paths.is_stage(Path("/mnt/globalmount"))
