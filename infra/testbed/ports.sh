# Free ports on loopback, remembered in the state folder so that addresses stay the same over a restart.

# Below the range that Linux hands out to clients (32768 and up), so that no outgoing connection sits on one of ours.
FIRST_PORT=20000
LAST_PORT=31990

is_port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# choose_ports COUNT SEED: the first of COUNT free ports in a row. SEED spreads state folders and instances apart.
choose_ports() {
  local count=$1 seed base offset taken
  seed=$((16#$(printf '%s' "$2" | sha256sum | cut -c1-6)))
  taken=" $(cat "$STATE"/control-planes/*/ports "$STATE"/node/ports 2>/dev/null | tr '\n' ' ') "
  for ((base = FIRST_PORT + seed % (LAST_PORT - FIRST_PORT) / 10 * 10; ; base += 10)); do
    ((base + count <= LAST_PORT)) || base=$FIRST_PORT
    [[ $taken != *" $base "* ]] || continue
    for ((offset = 0; offset < count; offset++)); do
      is_port_free $((base + offset)) || continue 2
    done
    echo "$base"
    return
  done
}
