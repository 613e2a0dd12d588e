# Daemons: started apart from the caller, recorded so that only they are ever stopped.
# The record of a daemon is `<name>.pid`: its process id and its start time. A reused process id has another start time.

# start_daemon FOLDER NAME COMMAND...: output goes to FOLDER/NAME.log (the last run's is kept as NAME.log.1).
start_daemon() {
  local folder=$1 name=$2 pid
  shift 2
  [ ! -s "$folder/$name.log" ] || mv -f "$folder/$name.log" "$folder/$name.log.1"
  (
    # Neither our locks nor the caller's pipes: a daemon that held them would keep both alive.
    for descriptor in /proc/self/fd/*; do
      descriptor=${descriptor##*/}
      if ((descriptor > 2)) && [ "$descriptor" != 255 ]; then eval "exec $descriptor>&-"; fi
    done
    cd /
    exec setsid "$@" </dev/null >>"$folder/$name.log" 2>&1
  ) </dev/null >/dev/null 2>&1 &
  pid=$!
  disown "$pid"
  echo "$pid $(find_start_time "$pid")" >"$folder/$name.pid"
}

# find_start_time PID: in clock ticks since boot; nothing when there is no such process.
find_start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # The second field is the program's name and may hold blanks and brackets.
  stat=${stat##*) }
  echo "$stat" | cut -d' ' -f20
}

# find_daemon FOLDER NAME: its process id, if it is alive.
find_daemon() {
  local pid started
  [ -s "$1/$2.pid" ] || return 0
  read -r pid started <"$1/$2.pid"
  if [ -n "${started:-}" ] && [ "$(find_start_time "$pid")" = "$started" ] && ! is_zombie "$pid"; then echo "$pid"; fi
}

is_zombie() { grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }

is_running() { [ -n "$(find_daemon "$1" "$2")" ]; }

# stop_daemon FOLDER NAME SECONDS: asks, waits so long, then kills; returns when it is gone.
stop_daemon() {
  local folder=$1 name=$2 patience=$3 pid
  pid=$(find_daemon "$folder" "$name")
  if [ -n "$pid" ]; then
    send_signal TERM "$pid"
    if ! wait_until "$patience" is_stopped "$folder" "$name"; then
      send_signal KILL "$pid"
      wait_until 10 is_stopped "$folder" "$name" || fail "$name (process $pid) does not end"
    fi
  fi
  rm -f "$folder/$name.pid"
}

is_stopped() { ! is_running "$1" "$2"; }

send_signal() {
  if ! kill "-$1" "$2" 2>/dev/null && [ -d "/proc/$2" ]; then as_root kill "-$1" "$2" 2>/dev/null || true; fi
}

# wait_until SECONDS COMMAND...: tries every tenth of a second; says whether it came true in time.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}
