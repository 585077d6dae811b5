"""Tasks: each calls one use case and maps its errors to a retry."""
