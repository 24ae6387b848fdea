"""All strategies by name."""

from rl_suite.meta_learning.continual.strategies.naive import Naive
from rl_suite.meta_learning.continual.strategies.progressive import Progressive
from rl_suite.meta_learning.continual.strategies.regularised import (
    ElasticWeightConsolidation,
    LearningWithoutForgetting,
    OnlineElasticWeightConsolidation,
    Synapses,
)
from rl_suite.meta_learning.continual.strategies.rehearsal import GreedyDumb, Joint, Replay

STRATEGIES: dict[str, type[Naive]] = {
    "naive": Naive,
    "ewc": ElasticWeightConsolidation,
    "online_ewc": OnlineElasticWeightConsolidation,
    "si": Synapses,
    "lwf": LearningWithoutForgetting,
    "replay": Replay,
    "gdumb": GreedyDumb,
    "progressive": Progressive,
    "joint": Joint,
}
"""Name -> strategy; a further one needs a class and a line here."""
