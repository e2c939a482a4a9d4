"""Faults of every kind, at any place, of drawn strength."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.simulator.dynamics import Disturbance, Series
from evals.simulator.system import Component, System
from workflows.contracts.change import ChangeKind
from workflows.contracts.hypothesis import FaultKind


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and when a fault is."""

    system: System
    component: int
    begin: int
    """The first step with it."""

    end: int
    """The first step without it again."""

    hard: float
    """How strong, from 0 to 1."""

    rng: random.Random

    @property
    def item(self) -> Component:
        """The component."""
        return self.system.components[self.component]

    def during(self, steps: int, ramp: int = 0) -> Series:
        """1 while it lasts, else 0; rising over so many steps."""
        number = np.arange(steps)
        rising = np.clip((number - self.begin + 1) / max(1, ramp), 0, 1) if ramp else (number >= self.begin) * 1.0
        return np.asarray(rising * (number < self.end), dtype=np.float64)


Effect = Callable[[Place, Disturbance], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault."""

    name: str
    kind: FaultKind
    effect: Effect
    kinds: Sequence[str] = ("service", "database", "cache")
    """Of components that can have it."""

    changes: Sequence[tuple[ChangeKind, str, str]] = ()
    """What may have brought it in: kind, title, detail."""

    message: str = ""
    """What the component itself logs."""

    reason: str = ""
    """What a cluster says of its pods."""

    cluster_message: str = ""
    on_node: bool = False
    """Whether the root cause is the node below the component."""


def _cpu(place: Place, what: Disturbance) -> None:
    steps = len(what.rate)
    what.harder[:, place.component] *= 1 + (2 + 8 * place.hard) * place.during(steps)


def _neighbour(place: Place, what: Disturbance) -> None:
    steps = len(what.rate)
    node = place.item.nodes[0]
    for number, item in enumerate(place.system.components):
        part = sum(other == node for other in item.nodes) / item.replicas
        what.stolen[:, number] += part * item.cores * (0.8 + 0.15 * place.hard) * place.during(steps)


def _leak(place: Place, what: Disturbance) -> None:
    steps = len(what.rate)
    ramp = place.rng.randint(10, 40)
    what.memory[:, place.component] *= 1 + 3 * place.during(steps, ramp)
    what.slower[:, place.component] *= 1 + 6 * place.during(steps, ramp)
    full = place.during(steps) * (np.arange(steps) >= place.begin + ramp)
    what.failing[:, place.component] += 0.3 * (0.3 + place.hard) * full


def _disk(place: Place, what: Disturbance) -> None:
    steps = len(what.rate)
    what.disk[:, place.component] = np.maximum(what.disk[:, place.component], place.during(steps, 6) * 0.995)
    what.failing[:, place.component] += (0.2 + 0.6 * place.hard) * place.during(steps)


def _far(place: Place, what: Disturbance) -> None:
    what.far_ms[:, place.component] += (50 + 600 * place.hard) * place.during(len(what.rate))


def _loss(place: Place, what: Disturbance) -> None:
    what.lost[:, place.component] += (0.1 + 0.7 * place.hard) * place.during(len(what.rate))


def _slow(place: Place, what: Disturbance) -> None:
    needed = 30 + 500 * place.hard
    waiting = max(place.item.own_ms - place.item.cpu_ms, 0.1)
    what.slower[:, place.component] += needed / waiting * place.during(len(what.rate))


def _errors(place: Place, what: Disturbance) -> None:
    what.failing[:, place.component] += (0.1 + 0.8 * place.hard) * place.during(len(what.rate))


def _crash(place: Place, what: Disturbance) -> None:
    what.down[:, place.component] += place.during(len(what.rate))


def _node_down(place: Place, what: Disturbance) -> None:
    during, node = place.during(len(what.rate)), place.item.nodes[0]
    for number, item in enumerate(place.system.components):
        what.down[:, number] += during * sum(other == node for other in item.nodes) / item.replicas
    np.clip(what.down, 0, 1, out=what.down)
    what.nodes[:, node] -= during


def _lock(place: Place, what: Disturbance) -> None:
    during = place.during(len(what.rate))
    waiting = max(place.item.own_ms - place.item.cpu_ms, 0.1)
    what.slower[:, place.component] += (100 + 900 * place.hard) / waiting * during
    what.waiting[:, place.component] += (5 + 60 * place.hard) * during


def _pool(place: Place, what: Disturbance) -> None:
    during = place.during(len(what.rate))
    waiting = max(place.item.own_ms - place.item.cpu_ms, 0.1)
    what.slower[:, place.component] += (80 + 600 * place.hard) / waiting * during
    what.failing[:, place.component] += 0.3 * place.hard * during
    what.waiting[:, place.component] += (10 + 80 * place.hard) * during


def _surge(place: Place, what: Disturbance) -> None:
    what.rate *= 1 + (3 + 12 * place.hard) * place.during(len(what.rate), 3)


def _certificate(place: Place, what: Disturbance) -> None:
    what.refused[:, place.component] += place.during(len(what.rate))


def _cannot_start(place: Place, what: Disturbance) -> None:
    part = 1.0 if place.item.replicas == 1 or place.hard > 0.3 else 0.5
    what.down[:, place.component] += part * place.during(len(what.rate))


DEPLOY, CONFIG, FLAG = ChangeKind.DEPLOY, ChangeKind.CONFIG, ChangeKind.FLAG
FAULTS = (
    Fault(
        name="cpu_regression",
        kind=FaultKind.CPU,
        effect=_cpu,
        kinds=("service",),
        changes=((DEPLOY, "Roll out {name} 2.{n}", "compute the totals for every row instead of once"),),
    ),
    Fault(name="noisy_neighbour", kind=FaultKind.CPU, effect=_neighbour, kinds=("service",), on_node=True),
    Fault(
        name="memory_leak",
        kind=FaultKind.MEMORY,
        effect=_leak,
        kinds=("service", "cache"),
        changes=((DEPLOY, "Roll out {name} 3.{n}", "keep every session in a map"),),
        message="java.lang.OutOfMemoryError: Java heap space",
        reason="OOMKilled",
        cluster_message="Container exceeded its memory limit",
    ),
    Fault(
        name="full_disk",
        kind=FaultKind.DISK,
        effect=_disk,
        kinds=("service", "database"),
        message="write failed: No space left on device",
    ),
    Fault(name="network_delay", kind=FaultKind.NETWORK, effect=_far),
    Fault(name="network_loss", kind=FaultKind.NETWORK, effect=_loss),
    Fault(name="slow_work", kind=FaultKind.LATENCY, effect=_slow),
    Fault(
        name="bad_code",
        kind=FaultKind.ERROR,
        effect=_errors,
        kinds=("service",),
        changes=(
            (DEPLOY, "Roll out {name} 5.{n}", "read the discount from the new field"),
            (FLAG, "Turn on new-discounts for {name}", "100 % of the users"),
        ),
        message="Unhandled exception: KeyError: 'discount'",
    ),
    Fault(
        name="stopped_process",
        kind=FaultKind.CRASH,
        effect=_crash,
        message="fatal: received SIGSEGV",
        reason="CrashLoopBackOff",
        cluster_message="back-off 5m0s restarting failed container",
    ),
    Fault(
        name="dead_node",
        kind=FaultKind.CRASH,
        effect=_node_down,
        kinds=("service",),
        reason="NodeNotReady",
        cluster_message="Node is not ready",
        on_node=True,
    ),
    Fault(
        name="lock",
        kind=FaultKind.LOCK,
        effect=_lock,
        kinds=("database",),
        message="canceling statement due to lock timeout",
    ),
    Fault(
        name="exhausted_pool",
        kind=FaultKind.SATURATION,
        effect=_pool,
        kinds=("service", "database"),
        changes=((CONFIG, "Tune {name}", "pool.size: 40 -> 4"),),
        message="timed out waiting for a connection from the pool",
    ),
    Fault(name="load_surge", kind=FaultKind.TRAFFIC, effect=_surge, kinds=("service",)),
    Fault(
        name="expired_certificate",
        kind=FaultKind.EXPIRY,
        effect=_certificate,
        kinds=("service", "database"),
    ),
    Fault(
        name="image_cannot_be_pulled",
        kind=FaultKind.CONFIGURATION,
        effect=_cannot_start,
        kinds=("service",),
        changes=((DEPLOY, "Roll out {name} 6.{n}", "image: registry.internal/{name}:6.{n}"),),
        reason="ImagePullBackOff",
        cluster_message="Back-off pulling image",
    ),
)
