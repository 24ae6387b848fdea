"""Kind of adapter -> class."""

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import BaseAdapter
from rl_suite.meta_learning.adapters.bottleneck import Compacter, LinearAdapter
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.modal import MultiModalAdapter
from rl_suite.meta_learning.adapters.prefix import PrefixTuning
from rl_suite.meta_learning.adapters.weights import IA3, BitFit, LoRA

CLASSES: dict[AdapterType, type[BaseAdapter]] = {
    AdapterType.LINEAR: LinearAdapter,
    AdapterType.LORA: LoRA,
    AdapterType.PREFIX: PrefixTuning,
    AdapterType.BITFIT: BitFit,
    AdapterType.COMPACTER: Compacter,
    AdapterType.IA3: IA3,
    AdapterType.MULTI_MODAL: MultiModalAdapter,
}


def class_of(config: AdapterConfig) -> type[BaseAdapter]:
    """What a configuration builds."""
    if isinstance(config.adapter_type, AdapterType):
        return CLASSES[config.adapter_type]
    if not issubclass(config.adapter_type, BaseAdapter):
        raise UserError(f"adapter_type: {config.adapter_type.__name__} is no subclass of BaseAdapter")
    return config.adapter_type
