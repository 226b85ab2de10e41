"""The custom resources of mooring.dev/v1alpha1, one module a kind."""
