"""Ray on two machines, as far as one machine can play them: a worker and a whole machine die, and nothing is lost."""

import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest

from rl_suite.sweeps.executor import run_jobs

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A head without room for jobs and two nodes with one place each."""
    from ray.cluster_utils import Cluster

    settings = {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=settings, shutdown_at_exit=False)
    made.add_node(num_cpus=1)
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def place_and_time(folder):
    """Says where it runs, then waits for permission to end."""
    name = f"{ray.get_runtime_context().get_node_id()} {os.getpid()} {time.monotonic()}"
    (Path(folder) / name).touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.05)
    return ray.get_runtime_context().get_node_id()


def begun(folder):
    return [path.name.split() for path in Path(folder).iterdir() if path.name != "go"]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_both_nodes_work_and_a_killed_worker_and_a_killed_node_lose_nothing(cluster, tmp_path):
    folders = [tmp_path / str(i) for i in range(6)]
    for folder in folders:
        folder.mkdir()
    outcomes = run_jobs(place_and_time, [str(folder) for folder in folders], "ray")
    seen = {}

    def kill() -> None:
        wait_for(lambda: sum(bool(begun(folder)) for folder in folders) >= 2)
        first, second = [folder for folder in folders if begun(folder)][:2]
        (node, pid, _), (seen["killed"], _, _) = begun(first)[0], begun(second)[0]
        seen["nodes"] = {node, seen["killed"]}
        os.kill(int(pid), signal.SIGKILL)
        doomed = next(each for each in cluster.list_all_nodes() if each.node_id == seen["killed"])
        cluster.remove_node(doomed, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        for folder in folders:
            (folder / "go").touch()

    killer = Thread(target=kill)  # the first `next` of the outcomes waits
    killer.start()
    found = {outcome.index: outcome for outcome in outcomes}
    killer.join()
    assert len(seen["nodes"]) == 2
    assert [found[i].error for i in range(6)] == [None] * 6
    assert seen["killed"] not in {found[i].value for i in range(6)}
    assert sum(outcome.attempts > 1 for outcome in found.values()) >= 2
