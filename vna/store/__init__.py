"""Object store adapters, one file a technology."""
