"""The files of a run: the journal, the history made of it, and the lock."""
