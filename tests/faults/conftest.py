"""What the rows of the fault catalogue share: the sites of the end-to-end tests, and a person with a watch."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def load_fixtures(room: str) -> Any:
    """A room's fixtures: tests are files and no packages, so that importing one takes these lines."""
    spec = spec_from_file_location(f"{room}_fixtures", Path(__file__).parents[1] / room / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fixtures = load_fixtures("e2e")
Site = fixtures.Site
cluster = fixtures.cluster
docker_engine = fixtures.docker_engine
real_site = fixtures.real_site
site = fixtures.site
site_on = fixtures.site_on
