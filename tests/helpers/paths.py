"""Where the tests find the repository, the recordings beside it, and the environments of other libraries."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
ORACLES_PYTHON = Path(os.environ.get("REMIXBENCH_ORACLES", ROOT / ".venv-oracles")) / "bin" / "python"
EXPORTS_PYTHON = Path(os.environ.get("REMIXBENCH_EXPORTS", ROOT / ".venv-exports")) / "bin" / "python"
