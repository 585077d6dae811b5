"""Index adapters, one file a technology."""
