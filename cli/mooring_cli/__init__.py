"""The `mooring` command: the engine without Kubernetes, and the kubectl plugin."""
