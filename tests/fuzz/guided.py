"""Coverage-guided fuzzing of one surface by atheris, which mutates what reached new lines.

    python tests/fuzz/guided.py SURFACE -runs=10000 [further options of libFuzzer]

Only functions of plain Python are watched: a kernel is compiled from the bytecode that watching would change.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
WATCHED = (
    "rl_suite.loading", "rl_suite.experiments", "rl_suite.reading", "rl_suite.symbolic.table", "envs.symbolic.text",
    "envs.symbolic.units", "envs.states", "envs.arguments", "envs.tasks", "rl_suite.distillation.histories",
    "rl_suite.distillation.doctor", "rl_suite.distillation.compression.strategies",
    "rl_suite.meta_learning.adapters.model", "rl_suite.meta_learning.adapters.sites",
    "rl_suite.meta_learning.tuning.architecture", "rl_suite.meta_learning.tuning.spaces",
    "rl_suite.meta_learning.tuning.ranges",
)  # fmt: skip
HANG = 60  # seconds after which libFuzzer calls a case one
LONGEST = 8192  # bytes that a case is drawn from; with few of them Hypothesis can draw none


def functions(module: ModuleType) -> Iterator[FunctionType]:
    """The module's own functions and methods."""
    for owner in (module, *(item for item in vars(module).values() if isinstance(item, type))):
        for item in list(vars(owner).values()):
            if isinstance(item, FunctionType) and item.__module__ == module.__name__:
                yield item


def main() -> None:
    """Fuzz the surface that is named first."""
    import atheris

    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    fuzzing, surfaces = importlib.import_module("fuzzing"), importlib.import_module("test_fuzz").SURFACES
    names = {surface.name.replace(" ", "_"): surface for surface in surfaces}
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"name one of: {', '.join(names)}")
    surface = names[sys.argv.pop(1)]
    for name in WATCHED:
        for function in functions(importlib.import_module(name)):
            atheris.instrument_func(function)
    surface.play(surface.plain)
    test, _ = fuzzing.as_test(surface)
    limits = [f"-timeout={HANG}", f"-max_len={LONGEST}", "-len_control=0"]
    atheris.Setup([*sys.argv, *limits], test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
