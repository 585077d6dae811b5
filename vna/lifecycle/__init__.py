"""Reindex, retention, tiering, verification."""
