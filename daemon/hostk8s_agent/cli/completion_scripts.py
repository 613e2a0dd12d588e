"""What each shell is taught. One protocol for all: the line up to the cursor in; out an answer a line, a tab, its help.

It is typer's for fish. Its scripts for bash and zsh are not used: that of bash knows nothing of the pieces that bash
splits at `@` and `:`, and that of zsh has the shell evaluate the answers, which are names of folders too.
"""

from __future__ import annotations

from typing import Final, Literal

Shell = Literal["bash", "zsh", "fish"]

# What typer's protocol sets for the program (its own convention: the name in capitals).
COMPLETE_VARIABLE: Final = "_HOSTK8S_AGENT_COMPLETE"

_BASH: Final = r"""
_hostk8s_agent_completion() {
    local line=${COMP_LINE:0:COMP_POINT} answer
    # bash splits words at what is in COMP_WORDBREAKS, @ and : too, and replaces the last piece alone, which is $2.
    # What stands before it in the line is taken from the front of each answer.
    local word=${line##*[[:space:]]} before=
    [[ $word != *"$2" ]] || before=${word%"$2"}
    COMPREPLY=()
    while IFS= read -r answer; do
        answer=${answer%%$'\t'*}
        # Between quotes bash does this by itself.
        [[ $word == [\'\"]* ]] || printf -v answer %q "$answer"
        COMPREPLY+=("${answer#"$before"}")
    done < <(env _HOSTK8S_AGENT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="$line" "${1/#\~\//$HOME/}" 2>/dev/null)
    # The newest snapshot comes first; only bash 4.4 and later can keep it there.
    compopt -o nosort 2>/dev/null
}

complete -o default -F _hostk8s_agent_completion hostk8s-agent
"""

_ZSH: Final = r"""
#compdef hostk8s-agent

_hostk8s_agent_completion() {
  local answer value
  local -a answers
  for answer in "${(@f)$(_HOSTK8S_AGENT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
    _TYPER_COMPLETE_ARGS="${words[1,CURRENT]}" hostk8s-agent 2>/dev/null)}"; do
    [[ -n $answer ]] || continue
    # _describe has a colon between a value and its help.
    value=${${answer%%$'\t'*}//\\/\\\\}
    value=${value//:/\\:}
    [[ $answer != *$'\t'* ]] || value+=":${answer#*$'\t'}"
    answers+=("$value")
  done
  # In the order that they came in: the newest snapshot first.
  if (( $#answers )); then _describe -V -t values value answers; else _files; fi
}

# As a file of fpath it is run for the first completion, and must complete then; sourced, it says whom it completes.
if [[ $funcstack[1] == _hostk8s-agent ]]; then
  _hostk8s_agent_completion "$@"
else
  compdef _hostk8s_agent_completion hostk8s-agent
fi
"""

_FISH: Final = r"""
function __hostk8s_agent_completion
    _HOSTK8S_AGENT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS=(commandline --cut-at-cursor --current-process | string collect) hostk8s-agent 2>/dev/null
end

# Files only where the program has no answer; in the order that the answers come in: the newest snapshot first.
complete --command hostk8s-agent --no-files --keep-order --arguments "(__hostk8s_agent_completion get-args)" \
    --condition "__hostk8s_agent_completion is-args"
"""

_SCRIPTS: Final[dict[Shell, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def render_script(shell: Shell) -> str:
    """Return the script for a shell, without a line end at its end."""
    return _SCRIPTS[shell].strip("\n")
