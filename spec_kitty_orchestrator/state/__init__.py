"""What a run writes to disk, and what a later run reads: the journal, its history, the lock."""
