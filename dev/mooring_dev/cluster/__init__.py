"""A real Kubernetes on one machine, each node a small machine of namespaces of its own."""
