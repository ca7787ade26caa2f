"""What a run writes down, and what a later one reads."""
