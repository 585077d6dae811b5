"""Values and errors of the field; imports nothing of the project."""
