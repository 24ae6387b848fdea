"""``python -m rl_suite.commands`` is ``rl-suite``, where that is not on the path."""

import sys

from rl_suite.commands.console import main

if __name__ == "__main__":
    sys.exit(main())
