"""The files that are installed: the templates of systemd/ and launchd/, filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

# In the wheel they are in the package (pyproject.toml, force-include), in a checkout at its root.
_SHIPPED = Path(__file__).parent / "files"
_CHECKOUT = Path(__file__).parents[3]

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


def read_template(name: str) -> str:
    """Return a template's text, for instance of `systemd/user/hostk8s-agent@.service`."""
    for folder in (_SHIPPED, _CHECKOUT):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise ServiceError(f"the template {name} is missing", hint="install hostk8s-agent again: its package is not whole")


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Return the template with each `@NAME@` replaced. What has no value stays (`@system-service` is systemd's)."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
