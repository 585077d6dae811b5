"""One normalisation rule a file."""
