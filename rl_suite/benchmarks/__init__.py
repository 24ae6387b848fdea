"""Speed and quality as ratios against a peer, measured in one run.

``python -m rl_suite.benchmarks`` lists the benchmarks; naming some runs them. A benchmark is a module
with two names: ``SUMMARY``, one line, and ``run(options: Options) -> BenchmarkResult``. It imports its
peers inside ``run`` (with :func:`require_peer` where one is optional) and stands in ``BENCHMARKS``.
"""

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row, load, require_peer
from rl_suite.benchmarks.timing import Timing, interleave

BENCHMARKS: dict[str, str] = {
    "adapters": "rl_suite.benchmarks.adapters",
    "adaptive": "rl_suite.benchmarks.adaptive",
    "bayesian": "rl_suite.benchmarks.bayesian",
    "compression": "rl_suite.benchmarks.compression",
    "continual": "rl_suite.benchmarks.continual",
    "distillation": "rl_suite.benchmarks.distillation",
    "durotaxis": "rl_suite.benchmarks.durotaxis",
    "fairness": "rl_suite.benchmarks.fairness",
    "few_shot": "rl_suite.benchmarks.few_shot",
    "graph_encoder": "rl_suite.benchmarks.graph_encoder",
    "meta_learning": "rl_suite.benchmarks.meta_learning",
    "meta_rl": "rl_suite.benchmarks.meta_rl",
    "meta_symbolic": "rl_suite.benchmarks.meta_symbolic",
    "nas": "rl_suite.benchmarks.nas",
    "networks": "rl_suite.benchmarks.network_speed",
    "symbolic": "rl_suite.benchmarks.symbolic",
    "symbolic_ode": "rl_suite.benchmarks.symbolic_ode",
    "symbolic_policy": "rl_suite.benchmarks.symbolic_policy",
    "symbolic_prior": "rl_suite.benchmarks.symbolic_prior",
    "symbolic_speed": "rl_suite.benchmarks.symbolic_speed",
    "taml": "rl_suite.benchmarks.taml",
    "tools": "rl_suite.benchmarks.tools",
    "worlds": "rl_suite.benchmarks.worlds",
    "wsa_ab": "rl_suite.benchmarks.wsa_ab",
}
"""Name on the command line -> module; nothing is imported before it is asked for."""

__all__ = ["BENCHMARKS", "BenchmarkResult", "Options", "Row", "Timing", "interleave", "load", "require_peer"]
