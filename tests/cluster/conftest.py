"""Fixtures of the cluster tier: a real control plane for what needs no node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mooring.api import generate
from support import api_server


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    """A real API server that knows Mooring's kinds."""
    folder: Path = tmp_path_factory.mktemp("control-plane")
    with api_server.running(folder) as server:
        crds = [text for name, text in generate.generated_files().items() if "/crds/" in name]
        server.must("apply", "--server-side", "-f", "-", stdin="---\n".join(crds))
        server.must(
            "wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/name=mooring"
        )
        yield server
