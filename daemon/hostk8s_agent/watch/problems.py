"""What the watch room tells people: one function for each stable code, all words in one place."""

from __future__ import annotations

from hostk8s_agent.errors import Problem
from hostk8s_agent.watch.contract_files import CONTRACT_NAME


def stacks_folder_missing(root: str) -> Problem:
    """There is nothing at the stacks folder's path."""
    return Problem(
        "StacksFolderMissing",
        f"the stacks folder {root} is not there; all its contracts stay in force, and no data is touched",
        "bring it back (git checkout, or mount it): it is noticed at once, and nothing is pruned till then",
        file=root,
    )


def stacks_folder_unreadable(root: str, reason: str) -> Problem:
    """The stacks folder is there and cannot be listed."""
    return Problem(
        "StacksFolderUnreadable",
        f"the stacks folder {root} cannot be read ({reason})",
        "make it a folder that the agent's user may list; nothing is pruned meanwhile",
        file=root,
    )


def stacks_folder_replaced_empty(root: str) -> Problem:
    """Another folder stands in the stacks folder's place, and there is not one contract in it."""
    return Problem(
        "StacksFolderReplacedEmpty",
        f"the folder at {root} is not the one that was there before, and it holds no contract; all contracts stay in "
        "force, and no data is touched",
        "bring the contracts back (git checkout, or mount it), and nothing is pruned till then; if all stacks are "
        "meant to go: restart the agent, then hostk8s-agent prune --confirm",
        file=root,
    )


def folder_unreadable(folder: str, reason: str) -> Problem:
    """One folder below the stacks folder cannot be listed."""
    return Problem(
        "FolderUnreadable",
        f"the folder {folder} cannot be read ({reason}); the stacks below it keep their last state",
        "let the agent's user list it, or move it out of the stacks folder",
        file=folder,
    )


def contract_without_stack(path: str) -> Problem:
    """A contract lies directly in the stacks folder, where no folder gives it a name."""
    return Problem(
        "ContractWithoutStack",
        "a contract directly in the stacks folder belongs to no stack",
        f"move it into the folder of its stack: <stack>/{CONTRACT_NAME}",
        file=path,
    )


def contract_name_not_recognised(path: str) -> Problem:
    """A file that is almost certainly meant as a contract has another name."""
    return Problem(
        "ContractNameNotRecognised",
        "this file is not read: a contract has the extension .yaml",
        f"rename it to {CONTRACT_NAME}",
        file=path,
    )


def stack_name_not_text(folder: str) -> Problem:
    """A stack's folder has control characters or bytes that are no UTF-8 in its name: no Kubernetes name."""
    shown = ascii(folder)[1:-1]
    return Problem(
        "StackNameNotText",
        f"the folder {shown} has a name that is no printable text; its contract is not read",
        "rename the folder",
        file=shown,
    )


def linked_folder_ignored(link: str, target: str) -> Problem:
    """A link to a folder that is scanned anyway, or that holds the stacks folder itself."""
    return Problem(
        "LinkedFolderIgnored",
        f"the link {link} is not followed: {target} is scanned already or holds the stacks folder",
        "copy the folder, or link to one outside the stacks folder",
        file=link,
    )


def too_many_folders(limit: int) -> Problem:
    """The scan stopped at its limit: something that is no stack lies in the stacks folder."""
    return Problem(
        "TooManyFolders",
        f"there are more than {limit} folders below the stacks folder; the rest is not looked at",
        "move what is no stack elsewhere, or give its folder a name that begins with a dot",
    )


def inotify_watches_exhausted(missing: int, limit: int | None) -> Problem:
    """The kernel gives this user no more inotify watches, so some folders send no events."""
    now = f" (fs.inotify.max_user_watches is {limit})" if limit is not None else ""
    wanted = max(524_288, 2 * (limit or 0))
    return Problem(
        "InotifyWatchesExhausted",
        f"the inotify watches have run out{now}; {missing} folders are scanned instead of watched",
        f"sudo sysctl -w fs.inotify.max_user_watches={wanted}; "
        f"to keep it: echo fs.inotify.max_user_watches={wanted} "
        "| sudo tee /etc/sysctl.d/60-hostk8s-agent.conf",
    )


def native_events_unavailable(reason: str) -> Problem:
    """The operating system refused to set up file system events at all."""
    return Problem(
        "NativeEventsUnavailable",
        f"file system events cannot be had ({reason}); the stacks folder is polled instead",
        "on Linux: sudo sysctl -w fs.inotify.max_user_instances=1024; "
        "to keep it: echo fs.inotify.max_user_instances=1024 | sudo tee /etc/sysctl.d/60-hostk8s-agent.conf",
    )


def events_not_arriving(root: str) -> Problem:
    """A file written on purpose caused no event."""
    return Problem(
        "EventsNotArriving",
        f"the file system of {root} reports no changes (a test write was not seen); it is polled instead",
        "keep the workspace on a local file system if saves should act at once",
        file=root,
    )
