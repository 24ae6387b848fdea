"""How fast expressions are evaluated and fitted, and how fast the world of expressions steps."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.streams import Streams
from envs.symbolic.fitting import fit_constants
from envs.symbolic.grammar import Grammar, Rules
from envs.symbolic.program import evaluate_programs
from envs.symbolic.tokens import CONSTANT, LITERAL, VARIABLE, Library, pad_programs
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave

SUMMARY = "expressions per second, fits of constants per second, steps of the symbolic world per second"

ID = "rl_suite/SymbolicRegression-v0"
PROGRAMS, FITS, PEER_SHARE = 10_000, 500, 20  # the peers do one part in PEER_SHARE of the work
STEPS, SINGLES = 200, 8
Floats = NDArray[np.float64]


def run(options: Options) -> BenchmarkResult:
    """Rates per second of processor time."""
    rows = [*_evaluation(options), *_fits(options), *_worlds(options)]
    notes = (
        "Programs are drawn from the grammar (10 tokens of Koza's set, at most 30 tokens); about half are not finite.",
        "Fits: the right program, 1 to 3 constants, 20 points; a fit succeeds with a share of variance below 1e-10.",
        "Worlds: random legal actions on Nguyen-1, chosen before; expressions not spelled out in info.",
    )
    return BenchmarkResult(tuple(rows), notes)


def _evaluation(options: Options) -> list[Row]:
    n = PROGRAMS // 50 if options.quick else PROGRAMS
    library = Library("koza", ["x", "y"])
    programs, lengths = Grammar(library, Rules(max_length=30)).sample(n, _streams(n, options.seed))
    rng, rows = np.random.default_rng(options.seed), []
    for points, peer_target in ((20, 10.0), (1000, 3.0)):
        X = rng.uniform(-1.0, 1.0, (points, 2))
        few = max(1, n // PEER_SHARE)

        def ours(X: Floats = X) -> object:
            return evaluate_programs(programs, lengths, X, library)

        def peer(X: Floats = X, few: int = few) -> object:
            return [_with_numpy(programs[i, : lengths[i]], library, X, ()) for i in range(few)]

        timings = interleave({"ours": ours, "peer": peer}, options.repeats)
        rates = timings["ours"].rate(n), timings["peer"].rate(few)
        rows.append(
            Row(f"evaluation at {points} points", *rates, "programs/s", "numpy, one by one", target=peer_target)
        )
    return rows


def _fits(options: Options) -> list[Row]:
    problems = _problems(FITS // 25 if options.quick else FITS, options.seed)
    library, X = problems[0][0], problems[0][1]
    programs, lengths = pad_programs([program for _, _, program, _ in problems])
    targets = np.array([y for _, _, _, y in problems])
    few = max(1, len(problems) // PEER_SHARE)
    solved: dict[int, float] = {}

    def ours(restarts: int) -> Callable[[], object]:
        def fit() -> None:
            found = fit_constants(programs, lengths, X, targets, library, restarts=restarts)
            with np.errstate(over="ignore"):
                solved[restarts] = float(np.mean(found.mean_square / targets.var(axis=1) < 1e-10))

        return fit

    def peer() -> None:
        for _, _, program, y in problems[:few]:
            k = int((library.opcode[program] == CONSTANT).sum())
            least_squares(_residuals, np.ones(k), method="lm", max_nfev=100, args=(program, library, X, y))

    timings = interleave({"once": ours(0), "restarts": ours(4), "peer": peer}, options.repeats)
    scipys = timings["peer"].rate(few)
    return [
        Row("fit of constants, one start", timings["once"].rate(len(problems)), scipys, "fits/s", "scipy", target=50.0),
        Row("fit of constants, four restarts", timings["restarts"].rate(len(problems)), scipys, "fits/s", "scipy"),
        Row("solved with one start", 100.0 * solved[0], None, "%"),
        Row("solved with four restarts", 100.0 * solved[4], None, "%"),
    ]


def _worlds(options: Options) -> list[Row]:
    steps = STEPS // 20 if options.quick else STEPS
    singles = DummyVecEnv([lambda: gym.make(ID, task="nguyen-1", expressions=False)] * SINGLES)
    peer = _replayed_singles(singles, steps)
    rows = []
    for batch in (1024, 4096):
        env: Any = gym.make_vec(ID, num_envs=batch, task="nguyen-1", expressions=False)
        timings = interleave({"ours": _replayed(env, options.seed, steps), "peer": peer}, options.repeats)
        rates = timings["ours"].rate(batch * steps), timings["peer"].rate(SINGLES * steps)
        rows.append(Row(f"world, {batch} copies", *rates, "steps/s", "DummyVecEnv", target=20.0))
    one: Any = gym.make(ID, task="nguyen-1", expressions=False)
    alone = interleave({"ours": _replayed_alone(one, options.seed, 10 * steps)}, options.repeats)
    rows.append(Row("world, one copy", alone["ours"].rate(10 * steps), None, "steps/s"))
    return rows


def _choose(masks: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Random legal actions (B,) for masks (B, n)."""
    chosen: NDArray[np.int64] = np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1)
    return chosen


def _replayed(env: Any, seed: int, steps: int) -> Callable[[], None]:
    """Random legal actions, chosen before and played again: drawing them takes as long as the world itself."""
    world, rng, actions = env.unwrapped.world, np.random.default_rng(seed), []
    env.reset(seed=seed)
    start = env.unwrapped.get_state()
    for _ in range(steps):
        actions.append(_choose(world.masks, rng))
        env.step(actions[-1])

    def play() -> None:
        env.unwrapped.set_state(start)  # seeding thousands of generators is not a step
        for chosen in actions:
            env.step(chosen)

    return play


def _replayed_singles(env: DummyVecEnv, steps: int) -> Callable[[], None]:
    rng, actions = np.random.default_rng(0), []
    env.reset()
    for _ in range(steps):
        actions.append(_choose(np.stack(env.env_method("action_masks")), rng))
        env.step(actions[-1])

    def play() -> None:
        env.reset()
        for chosen in actions:
            env.step(chosen)

    return play


def _replayed_alone(env: Any, seed: int, steps: int) -> Callable[[], None]:
    rng, actions = np.random.default_rng(seed), []
    env.reset(seed=seed)
    for _ in range(steps):
        actions.append(int(_choose(env.unwrapped.action_masks()[None], rng)[0]))
        if env.step(actions[-1])[2]:
            env.reset()

    def play() -> None:
        env.reset(seed=seed)
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    return play


def _streams(n: int, seed: int) -> Streams:
    return np.arange(n, dtype=np.uint64) + np.uint64(seed) * np.uint64(n)


def _problems(n: int, seed: int) -> list[tuple[Library, Floats, NDArray[np.int16], Floats]]:
    """(library, X, program, y): y is what the program gives for constants in [-3, 3]."""
    library = Library("koza", ["x"], constant=True)
    X, rng = np.linspace(0.2, 2.0, 20)[:, None], np.random.default_rng(seed)
    grammar = Grammar(library, Rules(max_length=16, repeats={"c": 3}))
    found: list[tuple[Library, Floats, NDArray[np.int16], Floats]] = []
    turn = seed
    while len(found) < n:
        turn += 1
        programs, lengths = grammar.sample(1000, _streams(1000, turn))
        values = evaluate_programs(programs, lengths, X, library, rng.uniform(-3.0, 3.0, (1000, 3)))
        for program, length, y in zip(programs, lengths, values, strict=True):
            has_constant = bool((library.opcode[program[:length]] == CONSTANT).any())
            if has_constant and np.isfinite(y).all() and np.abs(y).max() < 1e4 and y.std() > 1e-3:
                found.append((library, X, program[:length].copy(), y.copy()))
    return found[:n]


def _residuals(c: Floats, program: NDArray[np.int16], library: Library, X: Floats, y: Floats) -> Floats:
    values = _with_numpy(program, library, X, c) - y
    return np.clip(values, -1e6, 1e6) if np.isfinite(values).all() else np.full(len(y), 1e6)


_NUMPY: dict[str, Callable[..., Floats]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
}


def _with_numpy(program: NDArray[np.int16], library: Library, X: Floats, constants: Any) -> Floats:
    """The peer: the same stack in Python, one vectorised numpy call per token."""
    left_over, stack = list(constants), []
    with np.errstate(all="ignore"):
        for i in reversed(program):
            token = library.tokens[i]
            if token.opcode == VARIABLE:
                stack.append(X[:, token.index])
            elif token.opcode in (LITERAL, CONSTANT):
                stack.append(np.full(len(X), token.value if token.opcode == LITERAL else left_over.pop()))
            else:
                stack.append(_NUMPY[token.name](*[stack.pop() for _ in range(token.arity)]))
    return stack[0]
