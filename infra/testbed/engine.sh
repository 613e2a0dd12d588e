# The Docker engine: the one that is there, else a dockerd of our own, with socket, data, network and log of its own.

engine_folder() { echo "$STATE/engine"; }

# Images survive `down` here. Two dockerds must not share it, hence the state folder's own id.
engine_data() { echo "${HOSTK8S_TESTBED_ENGINE_DATA:-$CACHE/engine-$STATE_ID}"; }

# A socket's path ends at 107 bytes, and dockerd makes some with long names below its exec-root.
engine_run_folder() {
  local longest=/run/containerd/containerd-debug.sock
  if ((${#STATE} + 7 + ${#longest} <= 104)); then
    echo "$STATE/engine/run"
  else
    echo "/tmp/hostk8s-testbed-$STATE_ID"
  fi
}

own_engine_host() { echo "unix://$(engine_run_folder)/docker.sock"; }

is_own_engine_running() { is_running "$(engine_folder)" dockerd; }

# answers_as_engine [HOST]: without HOST, wherever the docker client itself would go.
answers_as_engine() {
  command -v docker >/dev/null &&
    timeout 10 docker ${1:+--host "$1"} version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# find_engine: the address of the engine to use: DOCKER_HOST, our own, the machine's; nothing when none answers.
find_engine() {
  local host
  if [ "${HOSTK8S_TESTBED_ENGINE:-}" = own ]; then
    if is_own_engine_running && answers_as_engine "$(own_engine_host)"; then own_engine_host; fi
  elif [ -n "${DOCKER_HOST:-}" ] && answers_as_engine "$DOCKER_HOST"; then
    echo "$DOCKER_HOST"
  elif is_own_engine_running && answers_as_engine "$(own_engine_host)"; then
    own_engine_host
  elif (unset DOCKER_HOST && answers_as_engine); then
    host=$(unset DOCKER_HOST && docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || true
    echo "${host:-unix:///var/run/docker.sock}"
  fi
}

# require_engine: afterwards `docker` goes to the engine of the testbed.
require_engine() {
  DOCKER_HOST=$(find_engine)
  [ -n "$DOCKER_HOST" ] || fail "no Docker engine answers: 'testbed up engine' starts one"
  export DOCKER_HOST
}

install_engine() {
  [ -z "$(find_engine)" ] || return 0
  # Someone's docker-ce is as good; Debian's package would conflict with it.
  command -v dockerd >/dev/null || install_packages docker.io
  install_packages iproute2
  command -v docker >/dev/null || fail "dockerd is here, but the docker client is not: get it with 'apt-get install docker.io'"
}

up_engine() {
  local host
  host=$(find_engine)
  if [ -z "$host" ]; then
    install_engine
    [ -z "${DOCKER_HOST:-}" ] || [ "$DOCKER_HOST" = "$(own_engine_host)" ] ||
      say "DOCKER_HOST is $DOCKER_HOST, where no engine answers: starting our own"
    start_own_engine
  elif [ "$host" != "$(own_engine_host)" ]; then
    say "using the Docker engine at $host"
  fi
}

start_own_engine() {
  local folder run started=$SECONDS
  require_root "a Docker engine of our own"
  folder=$(engine_folder) run=$(engine_run_folder)
  is_own_engine_running || remove_engine_leftovers
  say "starting a Docker engine of our own"
  mkdir -p "$folder" "$run"
  chmod 700 "$run"
  [ -O "$run" ] || fail "$run belongs to someone else"
  as_root mkdir -p "$(engine_data)"
  make_engine_bridge
  # An empty configuration file, because the machine's /etc/docker/daemon.json is not meant for us.
  # No packet filter and no forwarding: those are settings of the whole machine. Published ports work by docker-proxy.
  echo '{}' >"$folder/daemon.json"
  is_own_engine_running ||
    start_daemon "$folder" dockerd "${ROOT_COMMAND[@]}" dockerd --config-file="$folder/daemon.json" \
      --host="$(own_engine_host)" --group="$(id -gn)" --pidfile="$run/dockerd.pid" \
      --data-root="$(engine_data)" --exec-root="$run" --bridge="$(bridge_name)" \
      --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent="/$(cgroup_name)" \
      --iptables=false --ip-forward=false --ip-masq=false
  wait_until 60 engine_answers_or_died || true
  answers_as_engine "$(own_engine_host)" || {
    say_log_end "$folder/dockerd.log"
    fail "dockerd did not start; its log is $folder/dockerd.log"
  }
  say "the Docker engine is ready at $(own_engine_host), after $((SECONDS - started)) s"
}

engine_answers_or_died() { ! is_own_engine_running || answers_as_engine "$(own_engine_host)"; }

cgroup_name() { echo "hostk8s-testbed-$STATE_ID"; }

# docker0 may belong to another dockerd. A name has at most 15 characters.
bridge_name() { echo "hk8s-$STATE_ID"; }

make_engine_bridge() {
  local bridge third
  bridge=$(bridge_name)
  if ! ip link show "$bridge" >/dev/null 2>&1; then
    for ((third = 16#${STATE_ID:0:2}; ; third = (third + 1) % 256)); do
      ip -4 route | grep -qF "10.213.$third." || break
    done
    as_root ip link add "$bridge" type bridge
    as_root ip address add "10.213.$third.1/24" dev "$bridge"
  fi
  as_root ip link set "$bridge" up
}

# As `systemctl stop docker` does: containers end, and are there again, stopped, when it is started.
stop_own_engine() {
  is_own_engine_running || refuse "no engine of our own runs: only that one is ever stopped"
  stop_daemon "$(engine_folder)" dockerd 30
  say "the Docker engine is stopped; its data is kept in $(engine_data)"
}

down_engine() {
  local folder
  folder=$(engine_folder)
  # The folder may have been deleted under a running engine: its processes still name it.
  if [ ! -d "$folder" ] && has_no_process_naming "$(engine_run_folder)/"; then return 0; fi
  if is_own_engine_running && answers_as_engine "$(own_engine_host)"; then empty_own_engine; fi
  stop_daemon "$folder" dockerd 30
  remove_engine_leftovers
  as_root rm -rf -- "$folder" "$(engine_run_folder)"
  say "the Docker engine is gone; its images are kept in $(engine_data)"
}

# Whatever tests left in our own engine goes with it; images stay.
empty_own_engine() {
  local docker=(docker --host "$(own_engine_host)") name
  for name in $("${docker[@]}" ps --all --quiet); do "${docker[@]}" rm --force --volumes "$name" >/dev/null || true; done
  for name in $("${docker[@]}" volume ls --quiet); do "${docker[@]}" volume rm --force "$name" >/dev/null || true; done
  "${docker[@]}" network prune --force >/dev/null || true
}

# What a killed dockerd leaves: its containerd, the shims with their containers, mounts, control groups, the bridge.
remove_engine_leftovers() {
  local run pid child mount group
  run=$(engine_run_folder)
  for pid in $(list_processes_naming "$run/"); do
    for child in $(list_descendants "$pid"); do send_signal KILL "$child"; done
    send_signal KILL "$pid"
  done
  wait_until 10 has_no_process_naming "$run/" || say "some processes of $run do not end"
  # Innermost first.
  # dockerd mounts its data folder onto itself.
  awk -v run="$run/" -v data="$(engine_data)/" 'index($2 "/", run) == 1 || index($2 "/", data) == 1 { print $2 }' /proc/mounts | sort -r |
    while read -r mount; do as_root umount --lazy "$mount" || true; done
  as_root rm -rf -- "$run"
  # With cgroup v1 each controller has a tree of its own, with v2 there is one. Only empty groups can be removed.
  for group in /sys/fs/cgroup/"$(cgroup_name)" /sys/fs/cgroup/*/"$(cgroup_name)"; do
    [ ! -d "$group" ] || wait_until 5 remove_control_groups "$group" || say "the control group $group stays: something runs in it"
  done
  if ip link show "$(bridge_name)" >/dev/null 2>&1; then as_root ip link delete "$(bridge_name)"; fi
}

remove_control_groups() {
  as_root find "$1" -depth -type d -exec rmdir '{}' + 2>/dev/null || true
  [ ! -d "$1" ]
}

# Only programs of an engine, and only by our own folder in their arguments (an editor may have a log of ours open).
list_processes_naming() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    # A process may end while we look.
    if { tr '\0' '\n' <"$file"; } 2>/dev/null | awk -v folder="$1" '
      NR == 1 && $0 !~ /(^|\/)(dockerd|containerd|containerd-shim|containerd-shim-runc-v[12]|docker-proxy)$/ { exit 1 }
      index($0, folder) { found = 1 }
      END { exit !found }'; then
      file=${file#/proc/}
      echo "${file%/cmdline}"
    fi
  done
}

has_no_process_naming() { [ -z "$(list_processes_naming "$1")" ]; }

list_descendants() {
  local child
  local -a children
  read -r -a children <<<"$(cat "/proc/$1/task"/*/children 2>/dev/null | tr '\n' ' ')"
  for child in "${children[@]}"; do
    echo "$child"
    list_descendants "$child"
  done
}
