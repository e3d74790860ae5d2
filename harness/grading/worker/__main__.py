"""``python -m harness.grading.worker``."""

import sys

from harness.grading.worker.main import main

sys.exit(main())
