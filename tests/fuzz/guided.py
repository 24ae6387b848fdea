"""Coverage-guided fuzzing of one surface by atheris, which mutates what reached new lines.

    python tests/fuzz/guided.py SURFACE -runs=10000 [further options of libFuzzer]

Only modules of plain Python are watched: a compiled kernel is compiled from the bytecode that watching would change.
"""

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
WATCHED = [
    "rl_suite.loading", "rl_suite.experiments", "rl_suite.reading", "rl_suite.symbolic.table", "envs.symbolic.text",
    "envs.symbolic.units", "rl_suite.distillation.histories", "rl_suite.distillation.doctor",
    "rl_suite.distillation.compression.strategies", "rl_suite.meta_learning.adapters", "rl_suite.meta_learning.tuning",
]  # fmt: skip

with atheris.instrument_imports(include=WATCHED):
    import fuzzing
    import test_fuzz


def main() -> None:
    """Fuzz the surface that is named first."""
    names = {surface.name.replace(" ", "_"): surface for surface in test_fuzz.SURFACES}
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"name one of: {', '.join(names)}")
    surface = names[sys.argv.pop(1)]
    surface.play(surface.plain)
    test, _ = fuzzing.as_test(surface)
    atheris.Setup([*sys.argv, f"-timeout={fuzzing.LIBFUZZER_SECONDS}"], test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
