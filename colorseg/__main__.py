"""`python -m colorseg`: the command line."""

import sys

from colorseg.cli import main

sys.exit(main())
