"""Fixtures for the contract's tests: where the example and the invalid contracts lie."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"


@pytest.fixture
def contracts() -> Path:
    """Return the folder that holds the examples, the invalid contracts and the schema."""
    return CONTRACTS
