"""The node agent's gRPC service and client, and the identities that both ends prove."""
