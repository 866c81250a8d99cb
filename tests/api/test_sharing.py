"""What many ask for at once is done once, and nobody is told what was true before they asked."""

import threading
from concurrent.futures import ThreadPoolExecutor

from datapunk_broker.api.sharing import Shared


def test_each_who_asks_after_another_gets_what_is_true_now() -> None:
    counts = iter(range(10))
    shared = Shared(lambda: next(counts))

    assert [shared.get() for _ in range(3)] == [0, 1, 2]


def test_those_who_ask_meanwhile_share_the_next_result() -> None:
    begun, go_on, runs = threading.Event(), threading.Event(), []

    def work() -> int:
        runs.append(1)
        begun.set()
        assert go_on.wait(30)
        return len(runs)

    shared = Shared(work)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(shared.get)
        assert begun.wait(30)
        asking = threading.Barrier(6, timeout=30)
        others = [pool.submit(lambda: (asking.wait(), shared.get())[1]) for _ in range(5)]
        asking.wait()
        go_on.set()
        results = {other.result(30) for other in others}

    assert first.result() == 1
    assert max(results) == len(runs) <= 6
    assert 1 not in results


def test_an_error_is_told_and_nothing_is_kept_of_it() -> None:
    results = iter([ZeroDivisionError(), 7])

    def work() -> int:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    shared = Shared(work)
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(shared.get).exception(), ZeroDivisionError)
    assert shared.get() == 7
