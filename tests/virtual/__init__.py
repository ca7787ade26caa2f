"""The whole orchestrator in virtual time: agents that only take time, git in memory.

Nothing here waits for a clock or starts a process, so that years of work pass in seconds, and
one seed decides everything.
"""
