"""``from agents.pretrained import ...``: the names of ``agents.ptm.models`` that users type."""

from agents.ptm.models import PretrainedModel, PTMConfig, adapt_first_convolution, register_ptm

__all__ = ["PTMConfig", "PretrainedModel", "adapt_first_convolution", "register_ptm"]
