"""THE list of worlds: what arrives at a swarm, and who is in it when an episode begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

__all__ = ["FIT", "KINDS", "WORLDS", "Agent", "Task", "World", "fit", "newcomer"]

#: kinds of work; an agent's kind is its role, a task's the role that it needs
KINDS = ("architect", "coder", "tester", "reviewer", "devops", "writer")
#: weight of a task by priority: low, medium, high, critical
WEIGHTS = (0.5, 1.0, 2.0, 4.0)


class Agent:
    """One agent: kind, speed (1 = as estimated), dollars per busy hour, share of its tasks that fail."""

    __slots__ = ("cost", "failure", "id", "kind", "ready_at", "speed", "task", "tasks")

    def __init__(self, number: int, kind: int, speed: float, cost: float, failure: float, ready_at: float = 0.0):
        self.id, self.kind, self.speed, self.cost, self.failure = number, kind, speed, cost, failure
        self.ready_at = ready_at  # it starts until then, or is expected to be busy
        self.task: Task | None = None
        self.tasks = 0  # that it was given


class Task:
    """One task: minutes of work for an agent that fits, priority 0..3, complexity 0..1, what must be done before."""

    __slots__ = ("arrival", "attempts", "complexity", "deadline", "id", "kind", "needs", "priority", "weight", "work")

    def __init__(
        self, number: int, kind: int, work: float, priority: int, complexity: float, arrival: float, deadline: float
    ):
        self.id, self.kind, self.work, self.priority, self.complexity = number, kind, work, priority, complexity
        self.arrival, self.deadline, self.weight = arrival, deadline, WEIGHTS[priority]
        self.needs: tuple[int, ...] = ()
        self.attempts = 0


#: how well an agent of a kind fits a task of a kind: 1 its own, 0.6 the kind next to it, 0.2 any other
FIT = [
    [1.0 if a == t else 0.6 if (a + 1) % len(KINDS) == t else 0.2 for t in range(len(KINDS))] for a in range(len(KINDS))
]


def fit(agent: Agent, task: Task) -> float:
    """How well an agent fits a task, see :data:`FIT`."""
    return FIT[agent.kind][task.kind]


@dataclass(frozen=True)
class World:
    """A distribution of episodes.

    ``agents``: fewest and most at the start; ``load``: least and most work that arrives per agent's time;
    ``bursts``: share of tasks that come together with the one before; ``failure``: least and most of an agent;
    ``skew``: share of the tasks that are of one kind, beside the even rest; ``outage``: chance per agent to drop out
    for half an hour.
    """

    tasks: int = 40
    agents: tuple[int, int] = (3, 6)
    load: tuple[float, float] = (0.5, 1.3)
    bursts: float = 0.3
    failure: tuple[float, float] = (0.02, 0.15)
    skew: float = 0.3
    dependent: float = 0.25
    outage: float = 0.2

    def episode(self, random: Random) -> tuple[list[Agent], list[Task]]:
        """Agents, and tasks by arrival."""
        agents = [
            newcomer(i, random.randrange(len(KINDS)), random, random.uniform(*self.failure))
            for i in range(random.randint(*self.agents))
        ]
        for agent in agents:
            if random.random() < self.outage:
                agent.ready_at = 30.0
        common = random.randrange(len(KINDS))
        gap = 9.0 / (len(agents) * random.uniform(*self.load)) / (1 - self.bursts)
        now, tasks = 0.0, []
        for number in range(self.tasks):
            if random.random() >= self.bursts:
                now += random.expovariate(1 / gap)
            complexity = random.random()
            work = 8.0 * (0.4 + complexity) * random.lognormvariate(-0.18, 0.6)
            kind = common if random.random() < self.skew else random.randrange(len(KINDS))
            priority = random.choices((0, 1, 2, 3), (3, 4, 2, 1))[0]
            deadline = now + 10.0 + work * random.uniform(1.5, 5.0)
            task = Task(number, kind, work, priority, complexity, now, deadline)
            if number and random.random() < self.dependent:
                task.needs = (random.randrange(max(0, number - 5), number),)
            tasks.append(task)
        return agents, tasks


def newcomer(number: int, kind: int, random: Random, failure: float, ready_at: float = 0.0) -> Agent:
    """An agent as they come: the faster, the dearer."""
    speed = random.uniform(0.6, 1.6)
    return Agent(number, kind, speed, 2.0 * speed * random.uniform(0.7, 1.3), failure, ready_at)


_SIMULATED = World()
#: name -> distribution; those after the first are for judging alone: nothing is trained there
WORLDS: dict[str, World] = {
    "simulated": _SIMULATED,
    "more-arrivals": replace(_SIMULATED, load=(1.5, 2.0)),
    "bursts": replace(_SIMULATED, bursts=0.7),
    "other-agents": replace(_SIMULATED, agents=(6, 8), skew=0.7),
    "more-failures": replace(_SIMULATED, failure=(0.2, 0.35), outage=0.5),
}
