"""What happens: load from callers to callees, time and failures back from callees to callers, step by step of time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.simulator.system import System

Series = npt.NDArray[np.float64]
"""Steps of time, or steps by components."""

NETWORK_MS = 0.5
HIGHEST_LOAD = 0.96
"""Of a processor, in the formula for waiting: above it requests wait so long that callers give up."""

ROUNDS = 3
"""Times that retries are counted into the load."""

MOST_AGAIN = 3.0
"""Times the load without retries that a component passes on at most: budgets and full queues end a storm of retries."""

REFUSED_MS = 1.0
"""After which a call to something that is not there fails."""


@dataclass(kw_only=True)
class Disturbance:
    """What a fault does to each component in each step; without one all of it is neutral."""

    slower: Series
    """Factor of the own time that is no processor time: waiting for a lock, a slow disk, somebody outside."""

    harder: Series
    """Factor of the processor time."""

    failing: Series
    """Share of requests that fail by themselves."""

    down: Series
    """Part of the replicas that are not there."""

    far_ms: Series
    """Added to the way to it."""

    lost: Series
    """Part of the calls that do not arrive, and time out."""

    refused: Series
    """Part of the calls that are refused on arrival (an expired certificate)."""

    stolen: Series
    """Cores that something else takes from each replica."""

    memory: Series
    """Factor of the memory."""

    disk: Series
    """Used part of its volume."""

    waiting: Series
    """Requests that wait for a connection or a lock."""

    nodes: Series
    """1 in steps in which a node is there; steps by nodes."""

    rate: Series
    """Factor of the load at the entries."""

    @classmethod
    def none(cls, system: System, steps: int, disk: Series) -> "Disturbance":
        """Nothing is wrong."""
        shape = (steps, len(system.components))
        zero, one = np.zeros(shape), np.ones(shape)
        return cls(
            slower=one.copy(),
            harder=one.copy(),
            failing=zero.copy(),
            down=zero.copy(),
            far_ms=zero.copy(),
            lost=zero.copy(),
            refused=zero.copy(),
            stolen=zero.copy(),
            memory=one.copy(),
            disk=np.tile(disk, (steps, 1)),
            waiting=zero.copy(),
            nodes=np.ones((steps, system.nodes)),
            rate=np.ones(steps),
        )


@dataclass(frozen=True, kw_only=True)
class Course:
    """What happened: steps by components, or steps by links."""

    rate: Series
    """Requests a second that arrive at each component."""

    failed: Series
    """Share of its requests that fail."""

    own_failed: Series
    """Share that fails for a reason of its own."""

    time_ms: Series
    """Mean time of a request, from arriving to answering."""

    own_ms: Series
    """Of that, its own work."""

    load: Series
    """Used part of its processors."""

    link_rate: Series
    link_ms: Series
    """Mean time of a call, for the caller."""

    link_failed: Series


def simulate(system: System, disturbance: Disturbance, base: Series) -> Course:
    """The course of things.

    Args:
        system: what there is.
        disturbance: what is wrong.
        base: requests a second at the entries together, step by step.
    """
    steps, count = len(base), len(system.components)
    more = np.ones((steps, len(system.links)))
    first: Series | None = None
    for _ in range(ROUNDS):
        rate = np.zeros((steps, count))
        rate[:, list(system.entries)] = (base * disturbance.rate / len(system.entries))[:, None]
        link_rate = np.zeros((steps, len(system.links)))
        for number, link in enumerate(system.links):  # callers come before what they call
            at_most = rate if first is None else np.minimum(rate, MOST_AGAIN * first)
            arrived = at_most[:, link.caller] * (1 - disturbance.down[:, link.caller])
            link_rate[:, number] = arrived * link.calls * more[:, number]
            reached = (1 - disturbance.lost[:, link.callee]) * (1 - disturbance.refused[:, link.callee])
            rate[:, link.callee] += link_rate[:, number] * reached
        first = rate if first is None else first
        course = _answered(system, disturbance, np.minimum(rate, MOST_AGAIN * first), link_rate)
        for number, link in enumerate(system.links):
            failed = course.link_failed[:, number]
            more[:, number] = sum(failed**tries for tries in range(link.retries + 1))
    return course


def _answered(system: System, disturbance: Disturbance, rate: Series, link_rate: Series) -> Course:
    steps, count = rate.shape
    load, own = np.zeros((steps, count)), np.zeros((steps, count))
    for number, item in enumerate(system.components):
        there = np.maximum(item.replicas * (1 - disturbance.down[:, number]), 1e-9)
        needed = rate[:, number] * item.cpu_ms * disturbance.harder[:, number] / 1_000
        used = np.minimum(needed / (there * item.cores) + disturbance.stolen[:, number] / item.cores, 1.0)
        load[:, number] = np.where(disturbance.down[:, number] >= 1, 0.0, used)
        busy = np.minimum(used, HIGHEST_LOAD)
        computing = item.cpu_ms * disturbance.harder[:, number] * (1 + 0.5 * busy**2 / (1 - busy))
        own[:, number] = computing + (item.own_ms - item.cpu_ms) * disturbance.slower[:, number]
    failed, own_failed, time = np.zeros((steps, count)), np.zeros((steps, count)), own.copy()
    link_ms, link_failed = np.zeros((steps, len(system.links))), np.zeros((steps, len(system.links)))
    links = {number: system.calls(number) for number in range(count)}
    numbers = {id(link): number for number, link in enumerate(system.links)}
    for caller in reversed(range(count)):  # what is called comes after its callers
        item = system.components[caller]
        own_failed[:, caller] = 1 - (1 - item.error_share) * (1 - disturbance.failing[:, caller])
        fine = 1 - own_failed[:, caller]
        for link in links[caller]:
            number, callee = numbers[id(link)], link.callee
            gone = (disturbance.down[:, callee] >= 1) * 1.0  # those that are left take the load
            refused = np.maximum(gone, disturbance.refused[:, callee])
            lost = disturbance.lost[:, callee]
            served = time[:, callee] + NETWORK_MS + disturbance.far_ms[:, callee]
            late = 1 / (1 + np.exp(-(served - link.timeout_ms) / (0.15 * link.timeout_ms)))
            once = np.minimum(served, link.timeout_ms)
            taken = (1 - refused) * ((1 - lost) * once + lost * link.timeout_ms) + refused * REFUSED_MS
            wrong = 1 - (1 - refused) * (1 - lost) * (1 - late) * (1 - failed[:, callee])
            link_ms[:, number], link_failed[:, number] = taken, wrong
            after = wrong ** (link.retries + 1)
            tries = sum(wrong**again for again in range(link.retries + 1))
            calls = link.calls
            time[:, caller] += calls * tries * taken
            fine = fine * (1 - link.critical * after) ** calls
        failed[:, caller] = 1 - fine
    return Course(
        rate=rate,
        failed=np.clip(failed, 0, 1),
        own_failed=own_failed,
        time_ms=time,
        own_ms=own,
        load=load,
        link_rate=link_rate,
        link_ms=link_ms,
        link_failed=link_failed,
    )
