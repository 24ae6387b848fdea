"""``from agents.weight_sharing import ...``: the names of ``agents.ptm.weight_sharing`` that users type."""

from agents.ptm.weight_sharing import MultiPTMFeatureExtractor, WSAEnhancedActor

__all__ = ["MultiPTMFeatureExtractor", "WSAEnhancedActor"]
