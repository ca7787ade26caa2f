"""A simulation of whole missions in which agents, people, the host and the disk misbehave.

One seed decides everything: the mission, the release of the host, each agent's behaviour, and
when which trouble happens. `invariants` are checked whenever the orchestrator calls the host,
writes to its journal or launches an agent. `planted` switches parts of the orchestrator off; the
simulation has to find each of them.
"""
