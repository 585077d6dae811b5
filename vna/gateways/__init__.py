"""Protocols spoken to the outside."""
