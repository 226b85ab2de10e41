"""Benchmarks with public tools. Each prints ratios that were measured in one run."""
