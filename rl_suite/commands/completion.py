"""A script for bash or zsh that completes commands, experiments and executors of ``rl-suite``.

eval "$(rl-suite completion bash)"        in ~/.bashrc
eval "$(rl-suite completion zsh)"         in ~/.zshrc
"""

import argparse
import sys
from collections.abc import Sequence

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import describe_experiments

EXECUTORS = "serial processes ray"
SETTINGS = "experiment= seed= seeds= executor= workers= name= runs_dir= device= --config --help"
# bash splits words at "=", so that only what stands behind it is completed; of "a,b" the part behind the comma
SCRIPT = """_rl_suite() {
  local line="${COMP_LINE:0:COMP_POINT}"
  local word="${line##* }" value before="" words="@SETTINGS@"
  value="${word#*=}"
  case "$word" in
    experiment=*) words="@EXPERIMENTS@"; [[ $value == *,* ]] && before="${value%,*},"; value="${value##*,}" ;;
    executor=*) words="@EXECUTORS@" ;;
    *=*) words="" ;;
    *) [[ $line == "${line%% *} $word" ]] && words="@COMMANDS@" ;;
  esac
  COMPREPLY=($(compgen -P "$before" -W "$words" -- "$value"))
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  return 0
}
complete -o default -F _rl_suite rl-suite
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the script."""
    parser = argparse.ArgumentParser(
        prog="rl-suite completion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=["bash", "zsh"])
    shell = parser.parse_args(arguments).shell
    sys.stdout.write("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "")
    sys.stdout.write(script())


def script() -> str:
    """The script for the experiments of the shipped configuration."""
    from rl_suite.commands.console import COMMANDS

    experiments = " ".join(name for name, _ in describe_experiments(DEFAULT_CONFIG))
    filled = SCRIPT.replace("@SETTINGS@", SETTINGS).replace("@EXECUTORS@", EXECUTORS)
    return filled.replace("@EXPERIMENTS@", experiments).replace("@COMMANDS@", " ".join(COMMANDS))
