"""A simulated swarm: events, action commands, and what may be commanded when. Plain Python, no arrays: it is stepped
tens of thousands of times a second."""

from __future__ import annotations

import heapq
import math
from random import Random
from typing import Any

from claude_flow.environments.observe import observe
from claude_flow.environments.pairs import minutes, offers, pair
from claude_flow.environments.rewards import Happened
from claude_flow.environments.world import FIT, KINDS, Agent, Task, World, fit, newcomer

__all__ = ["ACTIONS", "DEFER", "MOST_AGENTS", "WINDOW", "Swarm"]

MOST_AGENTS = 8
WINDOW = 8  # ready tasks, the oldest first, that a decision sees
PRIORITIES = ("low", "medium", "high", "critical")
_START_MINUTES, _START_COST, _ESCALATION_COST = 4.0, 2.0, 8.0
_IDLE = 0.3  # of an agent's cost while it waits
_ATTEMPTS = 3
_CROWD, _CROWDED = 5, 0.04  # busy agents beyond so many fail that much more often, each

#: action commands, by number: name -> what it does
ACTIONS = {
    "assign-least-loaded": "the most urgent task to the capable agent that had fewest tasks",
    "assign-shortest": "the shortest task to the agent that is done with it first",
    "assign-earliest-deadline": "the task that is due first to the agent that is done with it first",
    "assign-matching": "the pair of the best assignment of all ready tasks to all free agents",
    "assign-cheapest": "the oldest task to the agent that does it for least",
    "defer": "wait for the next event",
    "split": "the most complex ready task into two halves",
    "escalate": "the most urgent ready task to a person",
    "spawn": "an agent of the kind that is short most",
    "retire": "the free agent that is needed least",
    "rebalance": "take a task back from the agent that fits it least",
    "raise-concurrency": "one more agent may work at a time",
    "lower-concurrency": "one agent less may work at a time",
}
_NAMES = tuple(ACTIONS)
#: set of kinds, as bits -> how well the best of them fits a task of each kind
_BEST = [
    [
        max((FIT[agent][task] for agent in range(len(KINDS)) if kinds >> agent & 1), default=0.0)
        for task in range(len(KINDS))
    ]
    for kinds in range(1 << len(KINDS))
]
(LEAST, SHORTEST, EARLIEST, MATCHING, CHEAPEST, DEFER, SPLIT, ESCALATE, SPAWN, RETIRE, REBALANCE, RAISE, LOWER) = range(
    len(ACTIONS)
)


class Swarm:
    """One episode. ``step(action)`` carries a command out and goes on to the next decision; ``total`` sums up."""

    def __init__(self, world: World, seed: int) -> None:
        self.random = Random(seed)
        self.agents, self.coming = world.episode(self.random)
        self.coming.reverse()
        self.tasks = len(self.coming)
        self.failure = world.failure
        self.now = 0.0
        self.ready: list[Task] = []
        self.blocked: list[Task] = []
        self.finished: set[int] = set()  # resolved or given up: what waits for them may go on
        self.events: list[tuple[float, int, Agent, Task | None, bool]] = []
        self.number = self.tasks  # of the next task or event
        self.concurrency = MOST_AGENTS
        self.busy = 0
        self.commanded = False  # one command beside assignments per moment
        self.resolved = self.failures = self.given = self.escalated = 0
        self.latency = 0.0
        self.total = Happened()
        self._pairs: dict[int, tuple[Agent, Task]] = {}  # that were asked for at this moment
        for agent in self.agents:
            if agent.ready_at > 0:
                self._later(agent.ready_at, agent, None, False)
        self._arrive()
        self._settle(self.total)

    # What may be done --------------------------------------------------------------------------------------------

    @property
    def free(self) -> list[Agent]:
        """Agents that could begin now."""
        now = self.now
        return [agent for agent in self.agents if agent.task is None and agent.ready_at <= now]

    @property
    def over(self) -> bool:
        """Whether all work is done."""
        return not (self.ready or self.blocked or self.coming or self.busy)

    def mask(self) -> list[bool]:
        """Which commands are legal; one is, unless the episode is over."""
        now, ready, agents = self.now, bool(self.ready), len(self.agents)
        free = False
        for agent in self.agents:
            if agent.task is None and agent.ready_at <= now:
                free = True
                break
        assign = ready and free and self.busy < self.concurrency
        wait = bool(self.coming or self.events)
        if self.commanded:
            return [assign, assign, assign, assign, assign, wait, False, False, False, False, False, False, False]
        large = False
        for task in self.ready[:WINDOW]:
            if task.complexity > 0.6 and task.work > 6:
                large = True
                break
        more, less = self.concurrency < MOST_AGENTS, self.concurrency > 1
        swap = ready and self.busy > 1
        room, spare = agents < MOST_AGENTS, free and agents > 1
        return [assign, assign, assign, assign, assign, wait, large, ready, room, spare, swap, more, less]

    def observe(self, pairs: bool = True) -> list[float]:
        """The swarm as the numbers of :data:`claude_flow.environments.observe.FEATURES`; without ``pairs`` those of
        ``SWARM``, in half the time."""
        now = self.now
        free, kinds_free, kinds = self.free, 0, 0
        for agent in self.agents:
            kinds |= 1 << agent.kind
        for agent in free:
            kinds_free |= 1 << agent.kind
        best_free, best = _BEST[kinds_free], _BEST[kinds]
        ready = self.ready[:WINDOW]
        tasks = [
            (t.priority, t.complexity, now - t.arrival, t.deadline - now, t.kind, best_free[t.kind], best[t.kind])
            for t in ready
        ]
        numbers = observe(
            tasks,
            len(self.agents),
            [agent.kind for agent in free],
            self.busy,
            self.failures / max(1, self.given),
            waiting=len(self.ready),
            concurrency=self.concurrency / MOST_AGENTS,
            commanded=self.commanded,
        )
        return numbers + offers(self.agents, free, ready, now) if pairs else numbers

    def request(self) -> dict[str, Any]:
        """The swarm as the guide writes one, with the tasks that a decision sees."""
        now = self.now
        agents = [
            {
                "id": f"agent-{agent.id}",
                "type": KINDS[agent.kind],
                "load": 0.0 if agent.task is None and agent.ready_at <= now else 1.0,
                "capabilities": [KINDS[agent.kind], KINDS[(agent.kind + 1) % len(KINDS)]],
                "speed": agent.speed,
                "cost-per-hour": agent.cost,
                "past-tasks": agent.tasks,
                "free-in-minutes": max(0.0, agent.ready_at - now),
            }
            for agent in self.agents
        ]
        if self.given:
            rate = round(1 - self.failures / self.given, 1)
            agents[0]["track-record"] = {"tasks": self.given, "success-rate": rate}
        tasks = [
            {
                "id": f"task-{task.id}",
                "type": KINDS[task.kind],
                "priority": PRIORITIES[task.priority],
                "complexity": round(task.complexity, 1),
                "features": {
                    "waiting-minutes": now - task.arrival,
                    "minutes-left": task.deadline - now,
                    "expected-minutes": task.work,
                },
            }
            for task in self.ready[:WINDOW]
        ]
        return {"current-agents": agents, "pending-tasks": tasks, "system-state": {}}

    # What is done --------------------------------------------------------------------------------------------------

    def step(self, action: int) -> Happened:
        """Carry out a legal command; returns what happened until the next decision.

        Raises:
            ValueError: the command is not legal now.
        """
        if not self.mask()[action]:
            raise ValueError(f"{_NAMES[action]} is not legal now")
        return self.carry_out(action)

    def carry_out(self, action: int) -> Happened:
        """:meth:`step` without looking whether the command is legal."""
        happened = Happened()
        if action < DEFER:
            self._begin(*self.pair(action))
        elif action == DEFER:
            self._advance(happened)
        else:
            self.commanded = True
            self._command(action, happened)
        self._pairs.clear()
        self._settle(happened)
        self.total.add(happened)
        return happened

    def pair(self, action: int) -> tuple[Agent, Task]:
        """The assignment that a command makes."""
        if action not in self._pairs:
            self._pairs[action] = pair(action, self.free, self.ready[:WINDOW])
        return self._pairs[action]

    def _begin(self, agent: Agent, task: Task) -> None:
        self.ready.remove(task)
        agent.task = task
        agent.tasks += 1
        self.busy += 1
        self.given += 1
        expected = minutes(agent, task)
        agent.ready_at = self.now + expected
        longer, luck = self._luck(task)
        chance = agent.failure + 0.4 * (1 - fit(agent, task)) * task.complexity
        chance += _CROWDED * max(0, self.busy - _CROWD)
        self._later(self.now + expected * longer, agent, task, luck >= chance)

    def _luck(self, task: Task) -> tuple[float, float]:
        """How much longer than expected an attempt takes, and what its chance of failure must not exceed."""
        return self.random.lognormvariate(-0.045, 0.3), self.random.random()

    def _command(self, action: int, happened: Happened) -> None:
        ready = self.ready[:WINDOW]
        if action == SPLIT:
            whole = max((t for t in ready if t.work > 6), key=lambda t: t.complexity)
            self.ready.remove(whole)
            for _ in range(2):
                half = Task(
                    self.number, whole.kind, 0.55 * whole.work, whole.priority, 0.7 * whole.complexity, *_times(whole)
                )
                half.weight = whole.weight / 2
                self.number += 1
                self.ready.append(half)
            self.finished.add(whole.id)
            self.tasks += 1
        elif action == ESCALATE:
            task = max(ready, key=lambda t: (t.priority, -t.deadline))
            self.ready.remove(task)
            self.escalated += 1
            happened.cost += _ESCALATION_COST * (0.5 + task.complexity)
            self._resolve(task, happened)
        elif action == SPAWN:
            agent = newcomer(
                self.number, self.shortest(), self.random, self.random.uniform(*self.failure), self.now + _START_MINUTES
            )
            self.number += 1
            self.agents.append(agent)
            self._later(agent.ready_at, agent, None, False)
            happened.cost += _START_COST
        elif action == RETIRE:
            wanted = [0] * len(KINDS)
            for task in self.ready:
                wanted[task.kind] += 1
            self.agents.remove(min(self.free, key=lambda a: (wanted[a.kind], -a.cost)))
        elif action == REBALANCE:
            agent = min((a for a in self.agents if a.task), key=lambda a: fit(a, a.task))  # type: ignore[arg-type]
            back = agent.task
            assert back is not None
            self.events = [event for event in self.events if event[2] is not agent]
            heapq.heapify(self.events)
            agent.task, agent.ready_at = None, self.now
            self.busy -= 1
            self.ready.append(back)
        else:
            self.concurrency += 1 if action == RAISE else -1

    def shortest(self) -> int:
        """The kind of work of which most waits per agent."""
        wanted, there = [0.0] * len(KINDS), [0.5] * len(KINDS)
        for task in self.ready:
            wanted[task.kind] += task.work
        for agent in self.agents:
            there[agent.kind] += agent.speed
        return max(range(len(KINDS)), key=lambda kind: wanted[kind] / there[kind])

    # Time ----------------------------------------------------------------------------------------------------------

    def _settle(self, happened: Happened) -> None:
        """Go on to a moment at which something can be decided."""
        while not self.ready and (self.coming or self.events) and not self.over:
            self._advance(happened)

    def _later(self, when: float, agent: Agent, task: Task | None, success: bool) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, agent, task, success))

    def _advance(self, happened: Happened) -> None:
        """To the next event, and through it."""
        arrival = self.coming[-1].arrival if self.coming else math.inf
        event = self.events[0][0] if self.events else math.inf
        then = min(arrival, event)
        passed = then - self.now
        weights = sum(t.weight for t in self.ready) + sum(t.weight for t in self.blocked)
        cost = 0.0
        for agent in self.agents:
            if agent.task is not None:
                weights += agent.task.weight
                cost += agent.cost
            else:
                cost += _IDLE * agent.cost
        happened.waited += passed * weights
        happened.cost += passed * cost / 10.0
        happened.minutes += passed
        self.now = then
        self.commanded = False
        if arrival <= event:
            self._arrive()
            return
        _, _, agent, done, success = heapq.heappop(self.events)
        if done is None:
            return
        agent.task, agent.ready_at = None, self.now
        self.busy -= 1
        done.attempts += 1
        if success:
            self._resolve(done, happened)
        else:
            self.failures += 1
            if done.attempts < _ATTEMPTS:
                self.ready.append(done)
            else:
                happened.lost += done.weight
                self._finish(done)

    def _resolve(self, task: Task, happened: Happened) -> None:
        self.resolved += 1
        self.latency += self.now - task.arrival
        happened.value += task.weight
        if self.now > task.deadline:
            happened.late += task.weight
        self._finish(task)

    def _finish(self, task: Task) -> None:
        self.finished.add(task.id)
        if self.blocked:
            freed = [t for t in self.blocked if self.finished.issuperset(t.needs)]
            if freed:
                self.ready += freed
                self.blocked = [t for t in self.blocked if t not in freed]

    def _arrive(self) -> None:
        while self.coming and self.coming[-1].arrival <= self.now:
            task = self.coming.pop()
            (self.ready if self.finished.issuperset(task.needs) else self.blocked).append(task)


def _times(task: Task) -> tuple[float, float]:
    return task.arrival, task.deadline
