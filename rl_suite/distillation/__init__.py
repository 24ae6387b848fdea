"""Algorithm Distillation: learning histories, the model that learns from them to learn, and its attention."""
