"""`python -m diagnose` is `diagnose`."""

import sys

from diagnose.program import own_imports

# The current folder comes first in `sys.path`, and may hold an `argparse.py` of the user's.
with own_imports():
    from diagnose.cli import main

if __name__ == "__main__":
    sys.exit(main())
