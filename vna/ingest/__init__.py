"""From a received data set to a stored and searchable instance."""
