"""The custom resources."""
