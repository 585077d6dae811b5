"""From the attributes as received to the attributes that are searched."""
