"""Clients of other archives and of modalities."""
