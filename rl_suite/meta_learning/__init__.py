"""Learning to learn: tasks, one engine for adaptation, meta-learners, few-shot and continual learners.

Names are imported when they are asked for, so that ``import rl_suite.meta_learning`` costs nothing.
"""

import importlib
from typing import Any

HOMES: dict[str, str] = {
    "adapt_policy": "adapters.policies",
    "AdapterConfig": "adapters.config",
    "AdapterModel": "adapters.model",
    "AdapterType": "adapters.config",
    "AdaptiveOptimizer": "tuning.adaptive_optimizer",
    "ANIL": "learners.variants",
    "BaseAdapter": "adapters.base",
    "BaseMetaLearner": "learners.base",
    "BayesianOptimizer": "tuning.bayesian",
    "benchmark_nas_algorithms": "tuning.comparison",
    "build_model_from_architecture": "tuning.cells",
    "CellTask": "tuning.darts.task",
    "ContinualLearner": "continual.learner",
    "create_meta_batch": "tasks",
    "create_nas_search_space": "tuning.cells",
    "create_tool_optimization_benchmark": "tools.benchmark",
    "draw_search": "tuning.pictures",
    "EpisodeSource": "data.episodes",
    "EWC": "continual.penalties",
    "Fairness": "learners.fairness",
    "FewShotLearner": "learners.few_shot",
    "from_arrays": "data.images",
    "from_dataset": "data.images",
    "ImageSet": "data.images",
    "LanguageAdapter": "adapters.modal",
    "load_architecture_table": "tuning.tabular",
    "load_few_shot_learner": "predictor",
    "load_image_folder": "data.folders",
    "load_omniglot": "data.omniglot",
    "load_omniglot_dataset": "data.omniglot",
    "load_peft": "adapters.peft",
    "LwF": "continual.penalties",
    "MAML": "learners.maml",
    "MAMLFirstOrder": "learners.variants",
    "MAMLPlusPlus": "learners.variants",
    "MAMLSecondOrder": "learners.variants",
    "MatchingNetwork": "learners.few_shot",
    "MemoryBuffer": "continual.memory",
    "MetaSGD": "learners.variants",
    "MultiModalAdapter": "adapters.modal",
    "MultiTaskMAML": "learners.variants",
    "NeuralArchitectureSearch": "tuning.architecture",
    "OmniglotTaskDataset": "data.omniglot",
    "OnlineEWC": "continual.penalties",
    "PolicyEWC": "continual.policies",
    "PolicyReplay": "continual.policies",
    "ProgressiveNetwork": "continual.strategies.progressive",
    "PrototypicalNetwork": "learners.few_shot",
    "RelationNetwork": "learners.few_shot",
    "Reptile": "learners.variants",
    "run_meta_learning_demo": "demo",
    "save_peft": "adapters.peft",
    "SinusoidTasks": "data.sinusoid",
    "stack_tasks": "tasks",
    "SynapticIntelligence": "continual.penalties",
    "TAMLClassifier": "learners.taml_parts",
    "TAMLDecoder": "learners.taml_parts",
    "TAMLEncoder": "learners.taml_parts",
    "TAMLRelationNetwork": "learners.taml_parts",
    "Task": "tasks",
    "TaskAgnosticMetaLearning": "learners.taml",
    "TaskSource": "tasks",
    "TaskComplexity": "tools.profiles",
    "TaskProfile": "tools.profiles",
    "ToolMetaLearner": "tools.learner",
    "ToolProfile": "tools.profiles",
    "ToolType": "tools.profiles",
    "train_taml": "learners.taml",
    "TransductiveWarning": "learners.maml",
    "VisionAdapter": "adapters.modal",
}
"""Public name -> module of this package that defines it."""

__all__ = [*HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
