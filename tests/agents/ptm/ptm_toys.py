"""Small pre-trained models and the images that they look at, for the tests of weight sharing."""

import numpy as np
from gymnasium import spaces

FROZEN = {"model_type": "graph_cnn", "freeze": True, "options": {"width": 4}}
TRAINED = {"model_type": "graph_cnn", "freeze": False, "options": {"width": 4}}
IMAGES = spaces.Box(0, 255, (3, 36, 36), np.uint8)
