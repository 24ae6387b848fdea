"""A prior over forms of laws as an experiment (``kind: law_prior``)."""
