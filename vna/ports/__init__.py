"""What the use cases ask of the outside world, and the semantics they rely on."""
