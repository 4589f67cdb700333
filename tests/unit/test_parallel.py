"""Objects on several threads: the order of a plain loop, errors where they happen, nothing started after a stop."""

import threading
import time

import pytest

from amodal.runtime.parallel import overlapped


def test_answers_come_in_order_though_later_ones_are_ready_first():
    def work(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(overlapped(work, range(6))) == [0, 1, 4, 9, 16, 25]


def test_one_item_stays_on_its_thread():
    assert list(overlapped(lambda _: threading.get_ident(), [0])) == [threading.get_ident()]


def test_an_error_comes_out_in_its_place():
    answers = overlapped(lambda number: 1 // (2 - number), range(5))
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_leaving_early_starts_nothing_more():
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        return number

    for _ in overlapped(work, range(50)):
        break
    assert len(begun) < 10
