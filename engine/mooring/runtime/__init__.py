"""Process furniture: settings, logging, metrics, health, locks."""
