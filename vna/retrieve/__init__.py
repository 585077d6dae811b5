"""From a request to the bytes of instances."""
