"""Queue adapters."""
