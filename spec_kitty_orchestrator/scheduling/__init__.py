"""Which work package starts next: `board` decides, `priority` ranks, `slots` limits."""
