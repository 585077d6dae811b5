"""From a query of a client to a query of the index."""
