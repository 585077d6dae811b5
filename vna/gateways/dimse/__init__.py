"""DIMSE (PS3.7, PS3.8)."""
