"""Train every experiment with every seed, several at once; the same command does what is left or failed.

rl-suite sweep experiment=darkroom,bandit_ppo seeds=0-9              as many at once as there are cores
rl-suite sweep experiment=darkroom,smoke seeds=0-2 workers=2         modifiers, such as smoke, apply to all
rl-suite sweep experiment=darkroom seeds=0-99 executor=ray           the cluster of RAY_ADDRESS; else this machine
rl-suite sweep experiment=darkroom seeds=0-4 ppo.gamma=0.9           settings apply to all
"""

from collections.abc import Sequence

from rl_suite.cli import choose_loudness, make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and sweep; the exit code is 1 if runs failed."""
    parser = make_parser(__doc__, "sweep")
    parser.add_argument(
        "--stopped-exit-code", type=int, choices=(0, 75), default=0, help="of a sweep that a signal has stopped"
    )
    parsed = parser.parse_args(arguments)
    choose_loudness(parsed)
    from rl_suite.sweeps.command import sweep_command  # late: it imports torch

    chosen = any(word.startswith("executor=") for word in parsed.words)
    words = parsed.words if chosen else [*parsed.words, "executor=processes"]
    return sweep_command(parsed.config, words, parsed.stopped_exit_code)
