"""Film the trained agent of a run, on any world: ``python -m rl_suite.watch runs/durotaxis/0``.

One held-out episode (a whole trial for in-context agents) is played by the best checkpoint. ``replay.json`` lets the
report play it step by step; ``film.webp`` is for everybody else, or .mp4 with the extra ``video``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rl_suite.checkpoint import write_atomically
from rl_suite.cli import module_command, prepare_process, run_command, show
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.evaluation.command import read_request
from rl_suite.experiments import KINDS, EvaluationRequest, load_attribute
from rl_suite.recording import record
from rl_suite.report.page import write_report
from rl_suite.run import Run
from rl_suite.viz.video import ENDINGS, save_film

LONGEST_FILM = 300  # pictures; longer episodes are shown in larger steps


def keep_for_page(config: ExperimentConfig, run: Run, number: int = 0) -> None:
    """Write what the report plays and explores: ``replay.json`` and ``attention.json``, as far as there are any."""
    keep_replay(config, run, number)
    keep_attention(config, run)


def keep_replay(config: ExperimentConfig, run: Run, number: int = 0) -> Path | None:
    """Write ``replay.json`` of one held-out episode into the run folder; None for what has none.

    Args:
        config: of the run.
        run: whose best checkpoint plays.
        number: another number is another episode.
    """
    kind = KINDS[config.kind]
    if kind.player is None:
        return None
    agent, spec = load_attribute(kind.player)(config, EvaluationRequest(run=run))
    look = None if kind.look is None else load_attribute(kind.look)(agent)
    camera = record(agent, replace(spec, seed=spec.seed + number), most=config.replay_steps, look=look)
    replay = camera.replay(about=config.experiment)
    if replay is None:
        return None
    path = run.path / "replay.json"
    write_atomically(path, replay.model_dump_json().encode())
    return path


def keep_attention(config: ExperimentConfig, run: Run) -> Path | None:
    """Write ``attention.json`` of a held-out episode into the run folder; None for agents without a history."""
    explorer = KINDS[config.kind].explorer
    if explorer is None:
        return None
    path = run.path / "attention.json"
    write_atomically(path, load_attribute(explorer)(config, EvaluationRequest(run=run)).model_dump_json().encode())
    return path


def film(config: ExperimentConfig, run: Run, path: Path, fps: float, number: int = 0) -> None:
    """Write one held-out episode as an animation.

    Raises:
        UserError: this kind has no agent to watch, the world draws nothing, or the ending is none of a film.
    """
    player = KINDS[config.kind].player
    if player is None:
        raise UserError(f"{run.path}: an experiment of kind {config.kind} has no agent that acts; see its report.html")
    if path.suffix not in ENDINGS:
        raise UserError(f"--out {path}: a film is .webp, .gif or .mp4")
    agent, spec = load_attribute(player)(config, EvaluationRequest(run=run))
    pictures = record(agent, replace(spec, seed=spec.seed + number), pictures=True).pictures
    save_film(pictures[:: -(-len(pictures) // LONGEST_FILM)], path, fps)


def main(words: Sequence[str] | None = None) -> None:
    """Replay, film, report."""
    parser = argparse.ArgumentParser(
        prog=module_command("rl_suite.watch"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder, such as runs/durotaxis/0")
    parser.add_argument("--out", type=Path, help="the film: .webp, .gif or .mp4 (default: film.webp in the run folder)")
    parser.add_argument("--fps", type=float, default=8.0, help="pictures a second (default: %(default)s)")
    parser.add_argument("--episode", type=int, default=0, help="another number is another held-out episode")
    parser.add_argument("--trust-code", action="store_true", help="run the code that the folder names")
    arguments = parser.parse_args(words)
    if not 0.1 <= arguments.fps <= 100 or arguments.episode < 0:
        raise UserError("--fps is between 0.1 and 100, --episode at least 0")
    config, request = read_request(Path(), [str(arguments.run)], trust_code=arguments.trust_code)
    assert request.run is not None
    prepare_process(config)
    path = arguments.out or request.run.path / "film.webp"
    film(config, request.run, path, arguments.fps, arguments.episode)
    show(f"film: {path}")
    keep_for_page(config, request.run, arguments.episode)
    show(f"report: {write_report(request.run)}")


if __name__ == "__main__":
    run_command(main)
