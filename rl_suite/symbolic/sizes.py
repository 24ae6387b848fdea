"""How little of a search for laws shows whether all of it can be run."""

from rl_suite.memory import require_memory
from rl_suite.rehearsal import changed
from rl_suite.symbolic.config import SymbolicConfig

TOKEN = 2  # bytes
POPULATION, EVALUATIONS, GROUPS = 20, 40, 2  # of a rehearsal


def shrink(config: SymbolicConfig) -> SymbolicConfig:
    """The same search with a small population and few evaluations.

    Raises:
        UserError: the real one needs more memory than there is.
    """
    search = config.search
    require_memory(search.population * search.max_length * TOKEN, "search.population: its programs")
    tiny = {
        "population": min(search.population, POPULATION),
        "budget": min(search.budget, EVALUATIONS),
        "checkpoint_every": 1,
        "groups": min(search.groups, GROUPS),
        "executor": "serial",
        "workers": None,
    }
    sizes: dict[str, object] = {f"search.{key}": value for key, value in tiny.items()}
    return changed(config, sizes | {"ode.budget": min(config.ode.budget, EVALUATIONS), "ode.degree": 1})
