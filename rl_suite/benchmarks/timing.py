"""Fair timing: ours and the peer in one process, taking turns, the best of several turns each."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """The fastest of several runs, in seconds; the minimum is what disturbs the machine's noise least."""

    wall: float
    """Elapsed time."""
    cpu: float
    """Processor time of the whole process (all of its threads), blind to what other processes do."""

    def rate(self, count: float) -> float:
        """``count`` things per second of processor time."""
        return count / max(self.cpu, 1e-9)  # a clock tick can hide the shortest runs


def interleave(contenders: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time each contender ``repeats`` times in turns (a b c, a b c, ...) after ``warm_up`` untimed turns.

    Taking turns spreads a slow phase of the machine over all contenders; the untimed turns pay for
    compilation and caches. Wall and processor time are each the minimum over the turns.
    """
    if repeats < 1 or warm_up < 0:
        raise ValueError(f"repeats must be at least 1 and warm_up at least 0, not {repeats} and {warm_up}")
    walls: dict[str, list[float]] = {name: [] for name in contenders}
    cpus: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + repeats):
        for name, work in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if turn >= warm_up:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return {name: Timing(wall=min(walls[name]), cpu=min(cpus[name])) for name in contenders}
