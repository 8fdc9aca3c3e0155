"""``python -m claude_flow`` is the ``claude-flow`` command."""

import sys

from claude_flow.cli import main

if __name__ == "__main__":
    sys.exit(main())
