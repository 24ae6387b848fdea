"""What an algorithm of another family is told when it asks a hybrid policy for what only its own policies have."""

from typing import Any

from torch import nn

OF_OTHER_ACTORS = ("optimizer", "action_log_prob")  # what CrossQ and SAC ask an actor for


class UnfitPolicyError(ValueError, AttributeError):
    """An algorithm asked for a part of another family of policies."""


class OnPolicyActor(nn.Module):
    """An actor that its policy's one optimizer trains; says so to CrossQ, which takes any policy with an actor."""

    def __getattr__(self, name: str) -> Any:
        if name in OF_OTHER_ACTORS:
            raise UnfitPolicyError(
                f"{type(self).__name__} has no {name} of its own, as CrossQ needs it; use PPO, A2C or TRPO"
            )
        return super().__getattr__(name)
