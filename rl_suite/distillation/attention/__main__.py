"""``python -m rl_suite.distillation.attention RUN`` is ``python -m rl_suite.distillation.look RUN``."""

import sys

from rl_suite.distillation.look import main

if __name__ == "__main__":
    sys.exit(main())
