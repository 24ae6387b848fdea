import inspect

import numpy as np
from stable_baselines3.common.type_aliases import PolicyPredictor

from agents.protocol import Agent


class Constant:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(len(observation), dtype=np.int64), state


def test_whatever_has_predict_is_an_agent():
    assert isinstance(Constant(), Agent)
    assert not isinstance(object(), Agent)


def test_the_arguments_are_those_of_stable_baselines3():
    ours, theirs = (list(inspect.signature(kind.predict).parameters) for kind in (Agent, PolicyPredictor))
    assert ours == theirs
