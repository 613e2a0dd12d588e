"""What is said of a stack before its first run: what was known of it, with nothing claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostk8s_agent.status.model import StackStatus, parse_stack_status

if TYPE_CHECKING:
    from hostk8s_agent.status.records import StackRecord

_MESSAGE = "not reconciled yet since the agent started"


def describe_unseen(stack: str, file: str, record: StackRecord | None) -> StackStatus:
    """Return the status of a stack of which an earlier agent left the record, None where there is none."""
    if record is None:
        return StackStatus(stack, file, "Pending", _MESSAGE)
    return parse_stack_status(record.status).as_unseen(_MESSAGE)
