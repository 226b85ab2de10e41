"""The host: commands, loop devices, mounts, filesystems, durable files."""
