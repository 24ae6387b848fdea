"""Make a folder of a run that can be put on a model hub, or be given to somebody without this suite.

python -m rl_suite.export runs/durotaxis/0                 export/durotaxis-0: card, weights, program, film, numbers
python -m rl_suite.export runs/pendulum_sac/0 --onnx       and policy.onnx (extra: pip install -e '.[onnx]')
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rl_suite.cli import module_command, prepare_process, run_command, show
from rl_suite.evaluation.command import read_request
from rl_suite.export.folder import export_run


def main(words: Sequence[str] | None = None) -> None:
    """Read the run, write the folder, say what is in it."""
    parser = argparse.ArgumentParser(
        prog=module_command("rl_suite.export"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="run folder, such as runs/durotaxis/0")
    parser.add_argument("--out", type=Path, help="the folder to make (default: export/NAME-SEED)")
    parser.add_argument("--onnx", action="store_true", help="write policy.onnx, too")
    parser.add_argument("--trust-code", action="store_true", help="run the code that the folder names")
    arguments = parser.parse_args(words)
    config, request = read_request(Path(), [str(arguments.run)], trust_code=arguments.trust_code)
    assert request.run is not None
    prepare_process(config)
    path = request.run.path
    folder = arguments.out or Path("export") / f"{path.parent.name}-{path.name}"
    for line in export_run(config, request.run, folder, arguments.onnx):
        show(f"  {line}")
    show(f"exported: {folder}")


if __name__ == "__main__":
    run_command(main)
