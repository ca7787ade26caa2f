"""Run a mission in virtual time, with the real board and agents that only take time."""

from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from random import Random

from attrs import Factory, define, field

from spec_kitty_client import Lane, Mission, WorkPackage
from spec_kitty_orchestrator.roles import ROLES, Role
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.slots import Limit
from spec_kitty_orchestrator.settings import Order

Dag = Mapping[str, list[str]]


@define
class Run:
    """A run of a mission in which only agents take time.

    Args:
        dag: The work packages, each with its dependencies.
        limits: How many agents may work at the same time.
        order: The order in which ready work packages start.
        seconds: How long an agent takes.
        sent_back: How often reviewers ask for changes.
        look: Called after each moment with the work packages that were started in it.
    """

    dag: Dag
    limits: tuple[Limit, ...]
    order: Order = Order.LONGEST_PATH
    seconds: Callable[[str, Role], float] = lambda _wp, _role: 1.0
    sent_back: Counter[str] = field(factory=Counter[str])
    look: Callable[["Run", list[WorkPackage]], None] = lambda _run, _started: None
    lanes: dict[str, Lane] = Factory(lambda self: dict.fromkeys(self.dag, Lane.PLANNED), True)
    now: float = 0.0
    ends: int = 0
    starts: list[str] = field(factory=list)
    working: Counter[Role] = field(factory=Counter[Role])
    busy: set[str] = field(factory=set[str])

    def waiting(self, role: Role) -> set[str]:
        """Return the work packages that an agent in a role could start in a free slot."""
        idle = {wp for wp in self.dag if ROLES.get(self.lanes[wp]) == role} - self.busy
        return {wp for wp in idle if self.lanes[wp] != Lane.PLANNED or self.is_free(wp)}

    def is_free(self, wp: str) -> bool:
        """Return whether all dependencies of a work package are done."""
        return all(self.lanes[name] == Lane.DONE for name in self.dag[wp])

    def board(self) -> Board:
        """Return a board of this mission."""
        packages = tuple(
            WorkPackage(wp_id=wp, lane=self.lanes[wp], dependencies=tuple(needs))
            for wp, needs in self.dag.items()
        )
        mission = Mission(mission_slug="m", summary={}, work_packages=packages)
        return Board(mission, self.limits, order=self.order)

    def play(self) -> float:
        """Run the mission until no agent works, and return how many seconds it took."""
        board = self.board()
        agents: list[tuple[float, int, str, Role]] = []
        while True:
            started = board.start_ready()
            for wp in started:
                role = board.busy[wp.wp_id]
                self.working[role] += 1
                self.starts.append(wp.wp_id)
                self.busy.add(wp.wp_id)
                until = self.now + self.seconds(wp.wp_id, role)
                heappush(agents, (until, len(self.starts), wp.wp_id, role))
            self.look(self, started)
            if not agents:
                return self.now
            self.now, _, name, role = heappop(agents)
            self.working[role] -= 1
            self.busy.remove(name)
            self.ends += 1
            self.lanes[name] = self._next(name, role)
            board.release(name, self.lanes[name])

    def _next(self, wp: str, role: Role) -> Lane:
        if role == "implement":
            return Lane.FOR_REVIEW
        if self.sent_back[wp] > 0:
            self.sent_back[wp] -= 1
            return Lane.IN_PROGRESS
        return Lane.DONE


def layered(random: Random, layers: int, widest: int) -> Dag:
    """Return a mission in layers; a work package needs one to three of the layer above."""
    made: dict[str, list[str]] = {}
    above: list[str] = []
    for _ in range(layers):
        layer = [f"WP{len(made) + i:02}" for i in range(1, random.randint(2, widest) + 1)]
        for name in layer:
            needs = random.sample(above, min(len(above), random.randint(1, 3)))
            made[name] = sorted(needs)
        above = layer
    return made
