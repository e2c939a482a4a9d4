"""The end of a process that has talked to Temporal."""

import _thread
import threading
import time

import pytest

from workers import connect


def test_the_end_waits_for_threads_that_python_does_not_know() -> None:
    begun, ended = threading.Event(), list[bool]()

    def from_outside() -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(True)

    _thread.start_new_thread(from_outside, ())
    assert begun.wait(timeout=30)
    connect.wait_for_foreign_threads()
    assert ended == [True]


def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "THREADS_GONE_SECONDS", 0.1)
    held = _thread.allocate_lock()
    held.acquire()
    _thread.start_new_thread(held.acquire, ())
    started = time.monotonic()
    connect.wait_for_foreign_threads()
    assert time.monotonic() - started < 30
    held.release()
