# Where things are: the state folder (what runs), the cache folder (what is expensive to make), and the locks on both.

STATE=${HOSTK8S_TESTBED_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/hostk8s-testbed}
CACHE=${HOSTK8S_TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hostk8s-testbed}

prepare_places() {
  mkdir -p "$STATE/locks" "$CACHE"
  chmod 700 "$STATE"
  # Absolute, because daemons are started with these paths and pid files are compared by them.
  STATE=$(cd "$STATE" && pwd -P)
  CACHE=$(cd "$CACHE" && pwd -P)
  # Names of bridges and labels carry this, so that two state folders never touch each other's things.
  STATE_ID=$(printf '%s' "$STATE" | sha256sum | cut -c1-8)
  forget_abandoned_workspaces
}

# with_lock NAME COMMAND...: run COMMAND while no other testbed runs under the same lock.
# NAME is `cache/<what>` or `<what>` (in the state folder). The lock goes with the process, so a killed testbed leaves none.
with_lock() {
  local name=$1 file descriptor
  shift
  case $name in
    cache/*) file=$CACHE/.${name#cache/}.lock ;;
    *) file=$STATE/locks/$name.lock ;;
  esac
  exec {descriptor}>>"$file"
  if ! flock --nonblock "$descriptor"; then
    say "waiting for another testbed that works on ${name#cache/} ..."
    flock "$descriptor"
  fi
  # No `||` here: it would switch `set -e` off in all that COMMAND does.
  "$@"
  exec {descriptor}>&-
}

# make_workspace: prints a new temporary folder, which is removed when this testbed ends, however it ends.
make_workspace() {
  local folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/hostk8s-testbed.$$.XXXXXX")
  echo "$folder"
}

remove_workspaces() {
  rm -rf -- "${TMPDIR:-/tmp}/hostk8s-testbed.$$".??????
}

# A testbed that was killed with -9 could not tidy up: the folder's name holds its process id.
forget_abandoned_workspaces() {
  local folder owner
  for folder in "${TMPDIR:-/tmp}"/hostk8s-testbed.*.??????; do
    [ -O "$folder" ] || continue
    owner=${folder##*/hostk8s-testbed.}
    owner=${owner%%.*}
    [ -d "/proc/$owner" ] || rm -rf -- "$folder"
  done
}
