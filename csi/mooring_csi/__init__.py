"""The CSI driver: protobuf at the edge, the fleet and the node's volumes behind it.

gRPC must know before it is loaded that this process starts others (mount, mkfs) by fork and exec:
its fork handlers can hang a child, and none of ours ever speaks gRPC.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
