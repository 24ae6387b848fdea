"""Killed, stopped, paused or out of disk at any moment, and resumed: a run ends with the bits of one that was not."""

import json
import os
import random
import shlex
import shutil
import signal
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from faults import Ended, Fault, Kind, assert_same_run, run_training, run_undisturbed

EVERY_128 = [f"train.{what}=128" for what in ("checkpoint_every", "log_every", "evaluate_every")]
KINDS = {  # a stop saves where it strikes: with a checkpoint at every step the same ones are kept
    "sb3": ["experiment=darkroom,smoke", "train.total_timesteps=512", *EVERY_128],
    "distillation": ["experiment=darkroom_distillation,smoke", "distillation.fit.checkpoint_every=1"],
    "symbolic": ["experiment=symbolic_search,smoke", "search.polynomials=false", "search.checkpoint_every=400"],
    "meta_learning": ["experiment=sinusoid_maml,smoke", "meta_learning.loop.checkpoint_every=1"],
}
OTHERS = {  # algorithms and settings with a state of their own
    "dqn": ["experiment=darkroom,smoke", "algorithm=dqn", "train.total_timesteps=512", *EVERY_128],
    "normalised": [
        *("experiment=bandit_ppo,smoke", "normalize.observation=true", "normalize.reward=true"),
        *("train.total_timesteps=512", *EVERY_128),
    ],
}
DRILLED = {  # in the drill only
    **KINDS,
    **OTHERS,
    "meta_rl": ["experiment=meta_bandit,smoke"],
    "law_prior": ["experiment=meta_symbolic,smoke", "law_prior.pretraining.checkpoint_every=64"],
    "continual": ["experiment=continual_rooms,smoke"],
    "tuning": ["experiment=darkroom,tune,smoke"],
}
MAY_END = {  # exit codes; 0 as well, where the run was complete before the fault was due
    "kill": (-signal.SIGKILL, 0),
    "late kill": (-signal.SIGKILL, 0),
    "term": (-signal.SIGTERM, 0),
    "pause": (0,),
    "full": (2, 0),
}
FAULTS = 5  # of each kind of experiment in every run of the tests
DRILL_FAULTS = int(os.environ.get("DRILL_FAULTS", "25"))  # of each kind of experiment in the drill
DRILL_SEED = int(os.environ.get("DRILL_SEED", "0"))


class Reference:
    """A run of one kind that nothing has struck."""

    def __init__(self, kind: str, folder: Path):
        self.kind, self.folder = kind, folder
        self.calls = run_undisturbed(self.words(folder / "whole"))
        self.path = self.run_of(folder / "whole")

    def words(self, runs: Path) -> list[str]:
        return [*DRILLED[self.kind], f"runs_dir={runs}"]

    def run_of(self, runs: Path) -> Path:
        return next(runs.glob("*/0"))

    def survives(self, faults: list[Fault], runs: Path) -> list[Ended]:
        """Strike with each fault in turn, then let it end; the result must be the same."""
        struck = [run_training(self.words(runs), self.folder, fault) for fault in faults]
        for fault, ended in zip(faults, struck, strict=True):
            assert ended.code in MAY_END[fault.kind], (fault, ended)
            assert "Traceback" not in ended.said, (fault, ended.said)
            assert ended.code != 2 or "No space left on device" in ended.said, (fault, ended.said)
        ended = run_training(self.words(runs), self.folder)
        assert ended.code == 0, (faults, ended.said)
        assert_same_run(self.path, self.run_of(runs))
        return struck

    def draw(self, rng: random.Random) -> list[Fault]:
        """Some faults, one after the other; a run that goes on may end before the second is due."""
        faults = []
        for _ in range(rng.randint(1, 4)):
            kind: Kind = rng.choice(("kill", "kill", "term", "pause", "full", "late kill"))
            moment = rng.uniform(0, 2) if kind == "late kill" else rng.randint(1, self.calls)
            faults.append(Fault(kind, moment))
        return faults


@pytest.fixture(scope="module", params=KINDS)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(request.param, tmp_path_factory.mktemp(request.param))


def strike(reference: Reference, seed: int, number: int, folder: Path) -> Counter[str]:
    """At least ``number`` random faults, in runs that are resumed until they end; how many of each were met."""
    rng, met = random.Random(seed), Counter[str]()
    for attempt in count():
        if met.total() >= number:
            return met
        faults = reference.draw(rng)
        struck = reference.survives(faults, folder / str(attempt))
        met.update(fault.kind for fault, ended in zip(faults, struck, strict=True) if ended.struck)
        shutil.rmtree(folder / str(attempt))
    raise AssertionError


def test_whatever_strikes_the_run_ends_with_the_same_bits(reference: Reference, tmp_path: Path) -> None:
    assert strike(reference, 1, FAULTS, tmp_path).total() >= FAULTS


@pytest.mark.parametrize("kind", OTHERS)
def test_a_kill_costs_other_algorithms_no_bits(kind: str, tmp_path: Path) -> None:
    reference = Reference(kind, tmp_path)
    assert reference.survives([Fault("kill", reference.calls // 2)], tmp_path / "runs")[0].struck


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRILLED)
def test_drill(kind: str, tmp_path: Path) -> None:
    met = strike(Reference(kind, tmp_path), DRILL_SEED, DRILL_FAULTS, tmp_path)
    print(f"{kind}: {met.total()} faults, {dict(met)}, every run the same bits")


def test_a_kill_between_the_end_and_its_report_is_made_up_for(reference: Reference, tmp_path: Path) -> None:
    for file in range(1, 4):  # the last files are the report, and before it what it plays; each takes three calls
        runs = tmp_path / str(file)
        fault = Fault("kill", reference.calls - 3 * file + 1)
        assert run_training(reference.words(runs), tmp_path, fault).code == -signal.SIGKILL
        run = reference.run_of(runs)
        if json.loads((run / "run.json").read_text())["status"] != "complete":
            break
        assert not (run / "report.html").exists()
        ended = run_training(reference.words(runs), tmp_path)
        assert ended.code == 0
        assert "is complete" in ended.said
        assert_same_run(reference.path, run)
    assert file > 1


def test_a_stopped_run_can_be_told_from_a_finished_one(reference: Reference, tmp_path: Path) -> None:
    words = [*reference.words(tmp_path / "my runs"), "--stopped-exit-code", "75"]
    ended = run_training(words, tmp_path, Fault("term", reference.calls // 3))
    assert ended.code == 75
    assert "Traceback" not in ended.said
    hint = ended.said.splitlines()[-1].partition("to resume: ")[2]
    assert shlex.split(hint) == ["python", "train.py", *words]
    assert json.loads((reference.run_of(tmp_path / "my runs") / "run.json").read_text())["status"] == "stopped"
    assert run_training(words, tmp_path).code == 0
    assert_same_run(reference.path, reference.run_of(tmp_path / "my runs"))


def test_a_damaged_checkpoint_costs_no_bits(reference: Reference, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(reference.path.parent.parent, runs)
    run = reference.run_of(runs)
    for name in ("run.json", "report.html", "model.zip", "evaluation.json", "laws.json"):  # as if just killed
        (run / name).unlink(missing_ok=True)
    *_, before, newest = sorted(run.glob("checkpoints/step_*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:-7])
    ended = run_training(reference.words(runs), tmp_path)
    assert ended.code == 0
    assert f"{before.name} is used instead" in ended.said
    assert_same_run(reference.path, reference.run_of(runs))
