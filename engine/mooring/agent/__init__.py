"""The node agent: its gRPC service, its client, and the certificates both use."""
