"""Version v1alpha1 of the custom resources; the CRDs are generated from these models."""
