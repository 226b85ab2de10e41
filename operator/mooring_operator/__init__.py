"""The operator: kopf handlers that observe, plan, act and write status."""
