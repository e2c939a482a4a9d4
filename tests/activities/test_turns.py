"""Who computes next in one process."""

import threading
import time
from collections.abc import Callable

import pytest

from activities.turns import CRITICAL, Turns


def nothing() -> None:
    pass


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.05)
    return thread


def test_the_urgent_come_first_and_then_who_came_first() -> None:
    turns, order = Turns(1), list[str]()

    def work(name: str, priority: int, left: int, investigation: str = "a") -> Callable[[], None]:
        def run() -> None:
            with turns.turn((priority, left, investigation), nothing):
                order.append(name)

        return run

    with turns.turn((3, 0, "a"), nothing), turns.turn((1, 0, "a"), nothing):
        threads = [
            in_thread(work("scope", 4, 1)),
            in_thread(work("collect", 3, 1)),
            in_thread(work("findings", 3, 0)),
            in_thread(work("later findings", 3, 0, "b")),
            in_thread(work("critical", 2, 1)),  # its own place is taken too
        ]
        assert order == []
    for thread in threads:
        thread.join(30)
    assert order == ["critical", "findings", "later findings", "collect", "scope"]


def test_no_more_than_the_places_compute_at_once() -> None:
    turns, now, most = Turns(2), list[int](), list[int]()
    lock = threading.Lock()

    def work() -> None:
        with turns.turn((4, 0, "a"), nothing):
            with lock:
                now.append(1)
                most.append(len(now))
            time.sleep(0.01)
            with lock:
                now.pop()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 20
    assert max(most) == 2


def test_who_stops_waiting_leaves_the_line() -> None:
    turns = Turns(1)

    def leave() -> None:
        raise InterruptedError

    with turns.turn((4, 0, "a"), nothing), pytest.raises(InterruptedError), turns.turn((3, 0, "a"), leave):
        raise AssertionError("there is no place")
    with turns.turn((9, 0, "a"), nothing):
        pass


def test_what_is_critical_waits_for_another_critical_one_only() -> None:
    turns, waited = Turns(1), list[str]()

    def wait() -> None:
        waited.append("b")
        raise InterruptedError

    with turns.turn((4, 0, "a"), nothing), turns.turn((CRITICAL, 0, "b"), wait):
        assert waited == []
        with pytest.raises(InterruptedError), turns.turn((CRITICAL, 0, "c"), wait):
            raise AssertionError("there is no place")


def test_who_waits_is_heard_however_often_others_come_and_go() -> None:
    """Waiting in a busy line is no standstill: each look counts, not only the quiet ones."""
    turns, looks, ended = Turns(1), list[int](), threading.Event()

    def busy() -> None:
        while not ended.is_set():
            with turns.turn((3, 0, "a"), nothing):
                time.sleep(0.01)

    def look() -> None:
        looks.append(1)
        if len(looks) == 5:
            raise InterruptedError

    others = [in_thread(busy) for _ in range(3)]
    with pytest.raises(InterruptedError), turns.turn((4, 0, "b"), look):
        raise AssertionError("the others leave no place")
    ended.set()
    for thread in others:
        thread.join(30)
    assert len(looks) == 5
