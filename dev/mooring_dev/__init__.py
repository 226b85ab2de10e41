"""The development cluster, its toolchain and its images."""
