"""The parts on tuning: a learning rate far too low, a search for an architecture, tools, and adapters."""

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.demo.part import Part, accuracy, curve, fit, load_digits, make_net
from rl_suite.meta_learning.metrics import architecture_quality, mean_interval, parameter_efficiency, tool_success
from rl_suite.meta_learning.tools.benchmark import create_tool_optimization_benchmark
from rl_suite.meta_learning.tools.sample import TASKS, TOOLS
from rl_suite.meta_learning.tuning.adaptive_optimizer import AdaptiveOptimizer
from rl_suite.meta_learning.tuning.architecture import NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.cells import build_model_from_architecture, create_nas_search_space
from rl_suite.viz.curves import Curve

SEEDS = 3
LOW_RATE, STEPS = 1e-5, 300  # of Adam, a hundredth of its usual rate
EVALUATIONS, TRAINED, TYPICAL = 16, 60, 6  # architectures, steps of each, random architectures
EXECUTIONS, TOOL_SEEDS = 120, 5
FEW, TUNED = 100, 150  # turned digits with labels, steps
RANK = 2


def adaptive_optimization(seed: int) -> Part:
    """Adam at a hundredth of a good rate, with and without hypergradients."""
    digits, errors, curves = load_digits(), {}, {}
    for name, learns in (("adaptive", True), ("fixed", False)):
        lines = []
        for number in range(SEEDS):
            torch.manual_seed(seed + number)
            net = make_net()
            optimizer = AdaptiveOptimizer(net, "adam", use_meta_learning=learns, lr=LOW_RATE)
            right = partial(accuracy, net, digits.test_x, digits.test_y)
            lines.append(fit(net, optimizer.step, digits.train_x, digits.train_y, STEPS, seed + number, right))
        errors[name] = 1 - np.array(lines)
        curves[name] = [curve(line, 10, 10) for line in 1 - np.array(lines)]
    ours, theirs = (values[:, -1] for values in errors.values())
    return Part(
        "Adaptive optimisation: a learning rate 100 times too low",
        f"error on held-out digits after {STEPS} steps of Adam from a rate of {LOW_RATE:g}, mean of {SEEDS} seeds",
        float(ours.mean()),
        float(theirs.mean()),
        "the same rate throughout",
        bool((ours < theirs).all()),
        "better on every seed",
        {"error_of_the_worst_seed": float(ours.max())},
        {"error against steps": curves},
    )


def nas(seed: int) -> Part:
    """A search over cells for digits, by validation; the test set is read once, beside random architectures."""
    digits = load_digits()
    half = len(digits.train_y) * 3 // 4
    train, check = (digits.train_x[:half], digits.train_y[:half]), (digits.train_x[half:], digits.train_y[half:])
    space = create_nas_search_space(input_shape=(64,), num_classes=10, max_layers=2)

    def trained(architecture: dict[str, object]) -> nn.Module:
        torch.manual_seed(seed)
        model = build_model_from_architecture(architecture)
        fit(model, torch_step(model, 5e-3), *train, TRAINED, seed)
        return model.eval()

    search = NeuralArchitectureSearch(space, algorithm="evolutionary", population_size=6, random_state=seed)
    best, value = search.search_architecture(lambda each: accuracy(trained(each), *check), EVALUATIONS)
    rng = np.random.default_rng(seed)
    drawn = [trained(space.decode(space.draw(rng))) for _ in range(TYPICAL)]
    typical = [accuracy(model, digits.test_x, digits.test_y) for model in drawn]
    ours = accuracy(trained(best), digits.test_x, digits.test_y)
    return Part(
        "Architecture search: cells for digits",
        f"accuracy on held-out digits of the best of {EVALUATIONS} by validation, {TRAINED} steps of training each",
        ours,
        float(np.mean(typical)),
        f"mean of {TYPICAL} random architectures",
        ours > float(np.mean(typical)),
        "better than a random architecture on average",
        {
            "validation_accuracy": value,
            "architecture_quality": architecture_quality(ours, float(np.mean(typical)), 1.0),
        },
        {"best validation accuracy against evaluations": {"": [curve(search.best_so_far())]}},
    )


def torch_step(model: nn.Module, rate: float) -> Callable[[float], object]:
    """One step of Adam, for ``fit``."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    return lambda loss: optimizer.step()


def tool_optimization(seed: int) -> Part:
    """Routes through eight tools whose chances drift: LinUCB against random routes and the posterior mean alone."""
    agents = ("linucb", "greedy", "random", "oracle")
    found = create_tool_optimization_benchmark(TOOLS, TASKS, EXECUTIONS, TOOL_SEEDS, agents)
    success = tool_success(found.success["linucb"], found.cost["linucb"])
    lines = {name: [curve(np.cumsum(found.regret[name].mean(axis=0)).tolist())] for name in agents[:-1]}
    return Part(
        "Tool use: which tools to call, in which order",
        f"regret against an oracle over {EXECUTIONS} executions, mean of {TOOL_SEEDS} seeds",
        found.total_regret("linucb").estimate,
        found.total_regret("random").estimate,
        "random routes",
        found.against("linucb", "random").high < 0,
        "the 95 % interval of the paired difference lies below 0",
        {**success, "calibration_error": found.calibration["linucb"].expected_calibration_error},
        {"regret against executions": lines},
    )


def adapters(seed: int) -> Part:
    """Digits turned by 90 degrees, a hundred of them with labels: LoRA in a trained network, beside full tuning."""
    digits, share = load_digits(), 1.0
    scores: dict[str, list[float]] = {"LoRA": [], "all": [], "frozen": []}
    lines: dict[str, list[Curve]] = {"LoRA": [], "all": []}
    turned = [x.reshape(-1, 8, 8).rot90(1, (1, 2)).reshape(-1, 64) for x in (digits.train_x[:FEW], digits.test_x)]
    for number in range(SEEDS):
        torch.manual_seed(seed + number)
        base = make_net(128)
        fit(base, torch_step(base, 2e-3), digits.train_x, digits.train_y, STEPS, seed + number)
        scores["frozen"].append(accuracy(base, turned[1], digits.test_y))
        config = AdapterConfig(adapter_type=AdapterType.LORA, target_modules="all-linear", lora_r=RANK, lora_alpha=8)
        for name, model in (("all", copy.deepcopy(base)), ("LoRA", AdapterModel(base, config))):
            share = parameter_efficiency(model) if name == "LoRA" else share
            step, few = torch_step(model, 5e-3), (turned[0], digits.train_y[:FEW])
            along = fit(model, step, *few, TUNED, seed + number, partial(accuracy, model, turned[1], digits.test_y))
            scores[name].append(along[-1])
            lines[name].append(curve(along, 10, 10))
    ours, frozen, everything = (float(np.mean(scores[name])) for name in ("LoRA", "frozen", "all"))
    return Part(
        "Adapters: digits turned by 90 degrees",
        f"accuracy on held-out turned digits after {TUNED} steps on {FEW} of them, mean of {SEEDS} seeds",
        ours,
        frozen,
        "the network as it was",
        mean_interval(np.subtract(scores["LoRA"], scores["frozen"])).low > 0,
        "the 95 % interval of the paired difference lies above 0",
        {"parameter_efficiency": share, "accuracy_of_full_tuning": everything},
        {"accuracy against steps": lines},
    )
