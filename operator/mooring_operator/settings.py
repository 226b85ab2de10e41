"""Settings of the operator, from its environment (`MOORING_…`), checked before anything starts."""

from pathlib import Path

import pydantic
import pydantic_settings

from mooring.api import keys
from mooring.planning import lost_nodes

_PERMANENT_EXIT_CODES = (1, 2, 3, 4, 5, 6, 8)
"""Of `mooring mover`: a bug, bad input, not found, another thing of that name, wrong state, not
permitted, damaged data. See mooring_cli.exits."""


class OperatorSettings(pydantic_settings.BaseSettings):
    """What the Deployment sets.

    Attributes:
        namespace: The namespace of Mooring's own objects.
        pod_name: Name of this pod; names the holder of the Lease.
        pod_uid: UID of this pod.
        pod_folder: A folder of this pod alone, which outlives its containers: whoever starts there
            again takes the Lease of its dead predecessor at once. None waits for the Lease.
        image: The image of movers; empty takes the one that this pod runs.
        image_pull_policy: Of movers.
        signer_address: Where the signer of certificates listens.
        health_address: Where /healthz and /readyz are served.
        metrics_listen: `host:port` of the metrics; empty serves none.
        workers: Objects reconciled at the same time.
        lost_after_seconds: How long a removed node has to be silent until its volumes are Lost.
        device_group_ids: Groups that block devices of other drivers belong to on the nodes, so that
            movers may read them; 6 is `disk` on most of them.
        kubeconfig: For a run outside a pod.
        log_level: debug, info, warning or error.
    """

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="MOORING_", extra="ignore")

    namespace: str = keys.NAMESPACE
    pod_name: str = "mooring-operator"
    pod_uid: str = ""
    pod_folder: Path | None = None
    image: str = ""
    image_pull_policy: str = "IfNotPresent"
    signer_address: str = f"0.0.0.0:{keys.SIGNER_PORT}"
    health_address: str = "0.0.0.0:8080"
    metrics_listen: str = ""
    workers: int = pydantic.Field(default=8, ge=1, le=64)
    lost_after_seconds: float = pydantic.Field(
        default=300.0, ge=lost_nodes.SHORTEST_WAIT.total_seconds()
    )
    device_group_ids: tuple[pydantic.NonNegativeInt, ...] = (6,)
    kubeconfig: Path | None = None
    log_level: str = "info"

    @property
    def permanent_exit_codes(self) -> tuple[int, ...]:
        """Exit codes of a mover after which another try is useless."""
        return _PERMANENT_EXIT_CODES
