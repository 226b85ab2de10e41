"""What the kubelet's paths say: whose pod a target belongs to, and what is a stage. Pure.

The kubelet makes a pod's folder before it mounts anything for it, and removes the folder last,
after everything in it was given back. So where it is gone, nobody asks for the rest any more.
Source: pkg/volume/csi of Kubernetes (`getTargetPath`, `getPublishPath`, `makeDeviceMountPath`).
"""

import re
from pathlib import Path

_NAME = r"[^/]+"
_UID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MOUNT = re.compile(
    rf"(?P<kubelet>/.*)/pods/(?P<pod>{_UID})/volumes/kubernetes\.io~csi/{_NAME}/mount"
)
_DEVICE = re.compile(
    rf"(?P<kubelet>/.*)/plugins/kubernetes\.io/csi/volumeDevices/publish/{_NAME}/(?P<pod>{_UID})"
)
_STAGE = re.compile(rf"/.*/plugins/kubernetes\.io/csi/{_NAME}/{_NAME}/globalmount")


def pod_folder_of(target: Path) -> Path | None:
    """Returns the folder of the pod that a target was made for; None of any other path."""
    found = _MOUNT.fullmatch(str(target)) or _DEVICE.fullmatch(str(target))
    return None if found is None else Path(found["kubelet"], "pods", found["pod"])


def is_stage(target: Path) -> bool:
    """Whether a path is where the kubelet has a volume's filesystem staged."""
    return _STAGE.fullmatch(str(target)) is not None
