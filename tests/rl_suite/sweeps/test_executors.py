"""One contract for every executor."""

import gc
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from rl_suite.errors import UserError
from rl_suite.sweeps.contract import JobError
from rl_suite.sweeps.executor import map_jobs, run_jobs

every_executor = pytest.mark.parametrize("executor", ["serial", "processes", "ray"], indirect=True)
with_workers = pytest.mark.parametrize("executor", ["processes", "ray"], indirect=True)


@pytest.fixture(scope="module")
def cluster():
    """Ray on two cores of this machine."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return request.param


def double(item):
    return 2 * item


def pick_on_odd(item):
    if item == 3:
        raise ValueError("three is odd")
    if item == 5:
        raise UserError("choose another than five")
    if item == 7:
        sys.exit("seven leaves")
    return item


def die_once(place):
    """Kills its worker at the first call, as a lack of memory does."""
    mark = Path(place)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die_always(item):
    if item == 1:
        os._exit(7)
    return item


def threads_and_session(_):
    return os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"], os.getsid(0) == os.getpid()


def secret(_):
    return lambda: None


@every_executor
def test_every_item_gets_its_value_in_its_place(executor):
    assert map_jobs(double, range(20), executor) == [2 * item for item in range(20)]
    assert map_jobs(double, [], executor) == []


@every_executor
def test_failing_jobs_do_not_lose_the_others(executor):
    outcomes = sorted(run_jobs(pick_on_odd, range(9), executor), key=lambda outcome: outcome.index)
    assert [outcome.value for outcome in outcomes] == [0, 1, 2, None, 4, None, 6, None, 8]
    assert outcomes[3].error == "ValueError: three is odd"
    assert "pick_on_odd" in outcomes[3].trace
    assert (outcomes[5].error, outcomes[5].trace) == ("choose another than five", "")
    assert outcomes[7].error == "SystemExit: seven leaves"
    assert {outcome.attempts for outcome in outcomes} == {1}
    with pytest.raises(JobError, match=r"3 of 9 jobs failed\njob 3: ValueError"):
        map_jobs(pick_on_odd, range(9), executor)


@every_executor
def test_items_are_drawn_as_they_are_needed_and_closing_ends_it(executor):
    drawn = []
    endless = (drawn.append(i) or i for i in count())
    with closing(run_jobs(double, endless, executor)) as outcomes:
        assert {next(outcomes).index for _ in range(5)} <= set(drawn)
    assert len(drawn) < 15


@pytest.mark.parametrize(
    "executor", ["serial", "processes", pytest.param("ray", marks=pytest.mark.slow)], indirect=True
)
def test_two_thousand_jobs_leave_no_memory_behind(executor):
    """Between the 500th and the 2,000th outcome the driver keeps less than a tenth of a kilobyte for each."""
    tracemalloc.start()
    try:
        with closing(run_jobs(double, range(2000), executor)) as outcomes:
            kept = [tracemalloc.get_traced_memory()[0] for outcome in outcomes if gather(outcome.index)]
    finally:
        tracemalloc.stop()
    assert len(kept) == 4
    assert kept[3] - kept[0] < 150_000, kept


def gather(index):
    return index % 500 == 499 and gc.collect() >= 0


@with_workers
def test_a_worker_that_dies_is_replaced(executor, tmp_path):
    (outcome,) = run_jobs(die_once, [str(tmp_path / "mark")], executor)
    assert (outcome.value, outcome.attempts) == ("alive", 2)


@with_workers
def test_a_job_that_kills_its_workers_ends_as_failed(executor):
    outcomes = {outcome.index: outcome for outcome in run_jobs(die_always, range(3), executor)}
    assert (outcomes[0].value, outcomes[2].value) == (0, 2)
    assert outcomes[1].attempts == 3
    assert "died" in outcomes[1].error


def test_a_worker_has_the_threads_that_it_is_given_and_a_session_of_its_own():
    before = dict(os.environ)
    assert map_jobs(threads_and_session, [0], "processes") == [("1", "1", True)]
    assert dict(os.environ) == before


def test_what_cannot_be_sent_back_is_an_error_of_its_job():
    (outcome,) = run_jobs(secret, [0], "processes")
    assert "pickle" in outcome.error.lower()


def test_unknown_executors_and_numbers_are_refused():
    with pytest.raises(UserError, match="did you mean 'processes'"):
        map_jobs(double, [1], "process")
    with pytest.raises(UserError, match="at least 1, not 0"):
        map_jobs(double, [1], "processes", workers=0)


SLEEPERS = """
import sys, time
from pathlib import Path
from rl_suite.sweeps.executor import map_jobs

def sleep(place):
    Path(place).touch()
    time.sleep(600)

if __name__ == "__main__":
    map_jobs(sleep, sys.argv[1:], "processes", workers=2)
"""


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_driver(number, tmp_path):
    """Ctrl-C ends them, and a driver that is killed leaves none behind."""
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    marks = [tmp_path / "a", tmp_path / "b"]
    root = Path(__file__).resolve().parents[3]
    words = [sys.executable, str(script), *map(str, marks), str(tmp_path / "c")]
    driver = subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in a shell's background
    )
    wait_for(lambda: all(mark.exists() for mark in marks))
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    driver.send_signal(number)
    driver.wait(60)
    wait_for(lambda: not any(Path(f"/proc/{child}/stat").exists() and is_alive(child) for child in children))
    assert not (tmp_path / "c").exists()


def is_alive(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
