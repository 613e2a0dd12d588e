"""`init`: a stack's first contract."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hostk8s_agent.cli.contract_fix import find_misread, quote
from hostk8s_agent.cli.exit_codes import ExitCode
from hostk8s_agent.cli.output import say, write
from hostk8s_agent.cli.readiness import choose_workspace
from hostk8s_agent.contract.naming import fold_stack_name, require_stack_name
from hostk8s_agent.contract.schema import render_schema
from hostk8s_agent.errors import AgentError

if TYPE_CHECKING:
    from hostk8s_agent.workspace import Workspace

SCHEMA_NAME = ".storage-contract.schema.json"

TEMPLATE = """\
# yaml-language-server: $schema={schema}
#
# What {stack} needs to keep: save this file, and the agent makes it so. The line above is for editors.
# Each field is explained in docs/contract.md of hostk8s-agent; `hostk8s-agent validate` judges the file.
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: {stack} # the folder below software/stacks/
spec:
  directories:
    - name: data # lowercase letters, digits, "-" and "."; names the volume: hostk8s-{folded}-data-pv
      path: /mnt/pv/{stack}/data # below /mnt/pv/, where the Docker volume is mounted
      size: 1Gi # what claims see; nothing stops the directory from growing past it
      accessModes:
        - ReadWriteOnce
      storageClass: {folded}-storage # a claim names it as its storageClassName
      owner: "1000:1000" # uid:gid of the program that writes here
      permissions: "0755" # octal
"""


class ContractExistsError(AgentError):
    """The stack has its contract."""

    code = "ContractExists"


class ContractUnwritableError(AgentError):
    """The contract, or what belongs to it, cannot be written."""

    code = "ContractUnwritable"


class StackUnnamedError(AgentError):
    """No stack was named, or one that cannot be."""

    code = "StackUnnamed"


def write_first_contract(stack: str | None, directory: Path | None) -> ExitCode:
    """Write the contract and its schema, and the contract's path to stdout."""
    workspace = choose_workspace(directory)
    name = stack if stack is not None else _find_stack_here(workspace)
    try:
        require_stack_name(name)
    except ValueError as error:
        raise StackUnnamedError(f"{name}: {error}", hint="for instance: hostk8s-agent init postgres") from error
    file = workspace.contract_path(name)
    schema = workspace.stacks_root / SCHEMA_NAME
    relative = "/".join([".."] * (name.count("/") + 1) + [SCHEMA_NAME])
    text = TEMPLATE.format(schema=relative, stack=name, folded=fold_stack_name(name))
    # A stack may be called 1, or yes.
    text = quote(text, list(find_misread(text)))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(file):
            raise ContractExistsError(
                f"{name} has its contract: {workspace.relative(file)}", hint="edit it; nothing was changed"
            )
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
        schema.write_text(json.dumps(render_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ContractUnwritableError(
            f"{workspace.relative(file)} cannot be written: {error.strerror}",
            hint="its folder must be one that you may write to",
        ) from error
    write(workspace.relative(file))
    say("edit it: path, size and owner are what the program of this stack needs")
    return ExitCode.OK


def _find_stack_here(workspace: Workspace) -> str:
    here = Path.cwd().resolve()
    root = workspace.stacks_root.resolve()
    if not here.is_relative_to(root) or here == root:
        raise StackUnnamedError(
            "this is no stack's folder", hint="name the stack: hostk8s-agent init postgres, or change into its folder"
        )
    return here.relative_to(root).as_posix()
