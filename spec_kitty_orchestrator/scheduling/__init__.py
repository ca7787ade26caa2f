"""Which work package starts next."""
