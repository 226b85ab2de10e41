"""csi-sanity over the matrix: one process and two, each backend, mounts and block devices."""

import sys
from collections.abc import Iterator

import pytest

from support import csi_sanity

pytestmark = pytest.mark.system

# What csi-sanity may skip, by its own words: each names a capability that is not advertised, or
# an option of csi-sanity that is not given.
SKIPS = {
    "GroupControllerService not supported",
    "Modify volume not supported",
    "Modify Volume not supported",
    "ControllerModifyVolume not supported",
    "ControllerPublishVolume not supported",
    "ControllerPublishVolume.readonly field not supported",
    "Controller Publish, UnpublishVolume not supported",
    "ControllerUnpublishVolume not supported",
    "testnodevolumeattachlimit not enabled",
}


@pytest.fixture(scope="module")
def reports() -> Iterator[list[csi_sanity.Report]]:
    """Gathers what every case said; shown at the end (`make csi-sanity` lets it through)."""
    found: list[csi_sanity.Report] = []
    yield found
    sys.stdout.write(csi_sanity.show(found) + "\n")


@pytest.mark.parametrize("case", csi_sanity.MATRIX, ids=str)
def test_csi_sanity(case: csi_sanity.Case, reports: list[csi_sanity.Report]) -> None:
    report = csi_sanity.run(case)
    reports.append(report)
    assert not report.named("failed"), csi_sanity.show([report])
    assert {spec.reason for spec in report.named("skipped")} <= SKIPS
    assert report.ran() >= csi_sanity.SPECS_THAT_RUN, csi_sanity.show([report])
