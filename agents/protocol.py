"""What every acting thing has in common: ``predict``.

PPO, an in-context transformer, a tabular learner and a scripted baseline differ in everything but this
one method, so that a single evaluator serves them all. The signature is that of stable-baselines3's
``PolicyPredictor``, hence every SB3 model is an ``Agent`` as it stands.
"""

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Observation = NDArray[Any] | dict[str, NDArray[Any]]
AgentState = Any  # whatever an agent remembers: arrays, tuples of them (SB3), an object of its own; None at first


@runtime_checkable
class Agent(Protocol):
    """Anything that maps a batch of observations to a batch of actions.

    ``isinstance(x, Agent)`` asks only whether ``x`` has a ``predict`` method.
    """

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], AgentState]:
        """Act in B environments at once.

        Args:
            observation: (B, ...) array, or a dict of such arrays.
            state: memory returned by the previous call; None before the first one. Its leading axis (or
                that of each of its members) belongs to the agent: the caller hands it back untouched.
            episode_start: (B,) bool, True where the observation is the first of an episode, so that an
                agent with memory forgets there. None means that no episode starts.
            deterministic: take the most likely action instead of sampling one.

        Returns:
            Actions (B, ...) and the memory for the next call.
        """
        ...
