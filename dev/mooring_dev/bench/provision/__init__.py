"""`make bench-provision`: from `kubectl apply` to a Ready pod, and CreateVolume's growth."""
