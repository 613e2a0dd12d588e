# How the testbed talks: progress for people goes to stderr, answers for programs go to stdout.

say() { printf 'testbed: %s\n' "$*" >&2; }

# fail MESSAGE: one plain line, exit code 1 (something could not be had or did not start).
fail() {
  printf 'testbed: error: %s\n' "$*" >&2
  exit 1
}

# refuse MESSAGE: exit code 3, a guard held the command back because of something that is not ours.
refuse() {
  printf 'testbed: refused: %s\n' "$*" >&2
  exit 3
}

# usage_error MESSAGE: exit code 2, the command line makes no sense.
usage_error() {
  printf "testbed: %s; see 'testbed --help'\n" "$*" >&2
  exit 2
}

# say_log_end FILE: the last lines of a log, so that a failure explains itself.
say_log_end() {
  [ -s "$1" ] || return 0
  say "the last lines of $1:"
  tail -n 15 "$1" | cut -c1-300 | sed 's/^/  /' >&2
}

# quietly COMMAND...: its words only when it fails (docker warns of things that are meant to be so).
quietly() {
  local words
  words=$("$@" 2>&1) || fail "'$1 $2' failed: $words"
}
