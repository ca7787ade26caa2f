"""The choice of the next work package: `board` decides, `priority` ranks, `slots` limits."""
