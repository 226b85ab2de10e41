"""What a monitoring system reads of a node's pools, over HTTP."""

from urllib.request import urlopen

from mooring.agent.metrics import PoolMetrics
from mooring.runtime.metrics import MetricsServer
from support.fake_nodes import GIB, FakeNode


def test_each_answer_says_how_the_pools_are_now() -> None:
    node = FakeNode("node-a", pool="fast", size_bytes=8 * GIB)
    server = MetricsServer("127.0.0.1:0", [PoolMetrics(node)])
    assert node.calls == [], "no pool is asked before somebody wants to know"
    server.start()
    try:

        def values() -> dict[str, float]:
            with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            return {name: float(value) for name, value in pairs}

        pool = '{node="node-a",pool="fast"}'
        assert values()[f"mooring_pool_size_bytes{pool}"] == 8 * GIB
        assert values()[f"mooring_pool_healthy{pool}"] == 1
        assert values()[f"mooring_pool_waiting_volumes{pool}"] == 0
        node.size_bytes = 4 * GIB
        assert values()[f"mooring_pool_size_bytes{pool}"] == 4 * GIB
        assert any(name.startswith("process_") for name in values())
    finally:
        server.stop()
