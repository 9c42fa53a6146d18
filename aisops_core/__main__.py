"""`python -m aisops_core` is `aisops-core`."""

from __future__ import annotations

import sys

from aisops_core.cli.core import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
