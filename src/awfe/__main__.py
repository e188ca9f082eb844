"""`python -m awfe` is `awfe`."""

import sys

from awfe.cli import main

sys.exit(main())
