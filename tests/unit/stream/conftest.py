"""No logs from here: what agents say is asserted where it matters."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import CapturingLoggerFactory


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Every test logs into nothing."""
    structlog.configure(logger_factory=CapturingLoggerFactory())
    yield
    structlog.reset_defaults()
