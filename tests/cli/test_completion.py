"""Completion in the shells themselves: Tab is pressed in a terminal, and the line that is there then is looked at."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.snapshot.conftest import Ground

pytestmark = pytest.mark.tools

BIN = Path(sys.executable).parent
SHELLS = ("bash", "zsh", "fish")
# A key writes the line as it is now into a file, with a mark at its end. The start is as bare as it can be had.
STARTS: dict[str, tuple[str, ...]] = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "--no-rcs", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
SHOWING = {
    "bash": """show() {{ printf '%s|' "$READLINE_LINE" > {line}; }}; bind -x '"\\C-g": show'""",
    "zsh": "show() {{ print -rn -- \"$BUFFER|\" > {line} }}; zle -N show; bindkey '^G' show",
    "fish": "function show; printf '%s|' (commandline | string collect) > {line}; end; bind \\cg show",
}
LOADING = {
    "bash": "source {script}",
    # As a person has it: in fpath, run for the first time when Tab is pressed.
    "zsh": "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D",
    "fish": "source {script}",
}


class Terminal:
    """A shell in a terminal, with the script loaded and the agent's command on its PATH."""

    def __init__(self, shell: str, script: Path, environment: dict[str, str], cwd: Path) -> None:
        self.shell = shell
        self._line = script.with_name("line")
        self._ready = script.with_name("ready")
        places = {"line": self._line, "script": script, "folder": script.parent}
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execvpe(STARTS[shell][0], STARTS[shell], environment)
        self._press(f"{SHOWING[shell].format(**places)}\n{LOADING[shell].format(**places)}\n")
        self._press(f": > {self._ready}\n")
        self._await(self._ready.exists)

    def complete(self, typed: str) -> str:
        """What the line is after it was typed and Tab pressed."""
        self._line.unlink(missing_ok=True)
        self._press(f"{typed}\t\x07")
        self._await(lambda: self._line.exists() and self._line.read_text(encoding="utf-8").endswith("|"))
        # The line goes away.
        self._press("\x15")
        return self._line.read_text(encoding="utf-8")[:-1]

    def close(self) -> None:
        """End the shell."""
        os.close(self._terminal)
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)

    def _press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline, shown = time.monotonic() + 60.0, b""
        while not condition():
            assert time.monotonic() < deadline, shown.decode(errors="replace")
            # What it shows has to be taken, or it stands still.
            if select.select([self._terminal], [], [], 0.02)[0]:
                shown += os.read(self._terminal, 65536)


@pytest.fixture(scope="module")
def _shells(testbed: Any) -> None:
    """The shells that a bare Debian lacks."""
    testbed.run("install", "tools")


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    """A snapshot of the stack `sample`, whose name has what bash splits words at."""
    return Ground(tmp_path).create(name="before:2.0=x")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the shell and the command have around them."""
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOSTK8S_AGENT_SNAPSHOT_REPOSITORY": str(tmp_path / "repository"),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture
def script(run: Callable[..., Any], tmp_path: Path) -> Callable[[str], Path]:
    """A function that gives a shell's script as a file, in a folder of its own."""

    def write(shell: str) -> Path:
        done = run("completion", shell)
        assert (done.code, done.err) == (0, "")
        path = tmp_path / "completion" / "_hostk8s-agent"
        path.parent.mkdir()
        path.write_text(done.out, encoding="utf-8")
        return path

    return write


@pytest.fixture(params=SHELLS)
def terminal(
    request: pytest.FixtureRequest,
    _shells: None,
    script: Callable[[str], Path],
    environment: dict[str, str],
    workspace: Any,
) -> Iterator[Terminal]:
    """Each shell in turn, in the workspace."""
    opened = Terminal(request.param, script(request.param), environment, workspace.root)
    yield opened
    opened.close()


@pytest.mark.usefixtures("server", "snapshot")
def test_tab_completes_verbs_stacks_and_snapshots(terminal: Terminal) -> None:
    """Also behind the `@`, `:` and `=` that bash takes for ends of words, and between quotes."""
    assert terminal.complete("hostk8s-agent snapsh") == "hostk8s-agent snapshot "
    assert terminal.complete("hostk8s-agent status foun") == "hostk8s-agent status foundation/airflow "
    restore = "hostk8s-agent snapshot restore sample@"
    assert terminal.complete(f"{restore}la") == f"{restore}latest "
    assert terminal.complete(f"{restore}bef").replace("\\", "") == f"{restore}before:2.0=x "
    assert terminal.complete(f"{restore}before:2").replace("\\", "") == f"{restore}before:2.0=x "
    assert terminal.complete("hostk8s-agent snapshot restore 'sample@la").replace("'", "") == f"{restore}latest "
    assert terminal.complete("true; hostk8s-agent status foun") == "true; hostk8s-agent status foundation/airflow "


def test_names_with_odd_characters_are_one_word_and_run_nothing(terminal: Terminal, workspace: Any) -> None:
    """Without an agent the names are those of folders, and a folder may be called anything."""
    odd = workspace.stacks_root / "odd $(touch ran) `touch ran` it's"
    odd.mkdir(parents=True)
    (odd / "hostk8s.storage.yaml").write_text("spec: {}\n", encoding="utf-8")
    completed = terminal.complete("hostk8s-agent status od")
    words = subprocess.run(
        [terminal.shell, "-c", f"printf '%s|' {completed}"],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout == f"hostk8s-agent|status|{odd.name}|"
    assert not list(workspace.root.rglob("ran"))


@pytest.mark.usefixtures("_shells", "server")
def test_bash_is_offered_all_that_follows_an_at_the_newest_first(
    script: Callable[[str], Path], snapshot: str, environment: dict[str, str], workspace: Any
) -> None:
    """The function itself, called as bash calls it: `$2` is the piece from the `@` on."""
    line = "hostk8s-agent snapshot restore sample@"
    asked = (
        f"source {script('bash')}; COMP_LINE='{line}' COMP_POINT={len(line)}; "
        "COMP_WORDS=(hostk8s-agent snapshot restore sample @) COMP_CWORD=4; "
        "_hostk8s_agent_completion hostk8s-agent @ sample; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", asked], cwd=workspace.root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["@latest", f"@{snapshot}", "@before:2.0=x"]


@pytest.mark.usefixtures("_shells", "server")
def test_fish_is_offered_the_same(
    script: Callable[[str], Path], snapshot: str, environment: dict[str, str], workspace: Any
) -> None:
    """By `complete -C`, which is fish's own entry; with the help of verbs behind a tab."""

    def ask(line: str) -> list[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"],
            cwd=workspace.root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    path = script("fish")
    found = ask("hostk8s-agent snapshot restore sample@")
    assert found == ["sample@latest", f"sample@{snapshot}", "sample@before:2.0=x"]
    assert [line.partition("\t")[0] for line in ask("hostk8s-agent snapsh")] == ["snapshot"]
