# A control plane without a node: etcd, kube-apiserver and kube-controller-manager on loopback.
# Enough for most tests: objects are validated and stored, claims are bound to volumes; no pod runs.
# Several can run at once; each is an instance with a folder of its own.

instance_folder() { echo "$STATE/control-planes/$1"; }

# An instance's name stands in paths and in the kubeconfig's context.
require_instance_name() {
  [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || usage_error "an instance's name is made of a-z, 0-9 and -, at most 40: not '$1'"
}

is_cluster_given() { [ -n "${HOSTK8S_TESTBED_KUBECONFIG:-}" ]; }

control_plane_kubeconfig() {
  if is_cluster_given; then
    echo "$HOSTK8S_TESTBED_KUBECONFIG"
  else
    echo "$(instance_folder "$1")/kubeconfig"
  fi
}

install_control_plane() {
  ! is_cluster_given || return 0
  install_packages openssl curl ca-certificates
  require_etcd
  require_kubectl
  require_kubernetes_binaries
}

up_control_plane() {
  if is_cluster_given; then
    require_given_cluster
    return
  fi
  install_control_plane
  start_control_plane "$1"
}

require_given_cluster() {
  require_kubectl
  [ -r "$HOSTK8S_TESTBED_KUBECONFIG" ] || fail "HOSTK8S_TESTBED_KUBECONFIG names $HOSTK8S_TESTBED_KUBECONFIG, which cannot be read"
  "$KUBECTL" --kubeconfig "$HOSTK8S_TESTBED_KUBECONFIG" --request-timeout 10s get --raw /readyz >/dev/null ||
    fail "the cluster of HOSTK8S_TESTBED_KUBECONFIG ($HOSTK8S_TESTBED_KUBECONFIG) does not answer"
}

refuse_given_cluster() {
  ! is_cluster_given || refuse "'$1' would change the cluster of HOSTK8S_TESTBED_KUBECONFIG, which the testbed only uses"
}

start_control_plane() {
  local instance=$1 folder started=$SECONDS
  folder=$(instance_folder "$instance")
  if is_control_plane_ready "$folder"; then return 0; fi
  mkdir -p "$folder"
  say "starting the control plane '$instance'"
  with_lock ports assign_ports "$instance"
  make_certificates "$folder/certificates"
  write_control_plane_access "$instance"
  start_etcd "$folder"
  start_api_server "$folder"
  start_controller_manager "$folder"
  await_daemon "$folder" api-server "$(api_url "$folder")/readyz"
  # On a slow machine it may have given up before the API server was ready.
  start_controller_manager "$folder"
  await_daemon "$folder" controller-manager "https://127.0.0.1:$(($(<"$folder/ports") + 1))/healthz"
  wait_until 60 has_default_service_account "$folder" || fail_control_plane "$folder" controller-manager
  say "the control plane '$instance' is ready at $(api_url "$folder"), after $((SECONDS - started)) s"
}

# Four ports in a row: API server, controller manager, etcd for clients, etcd for peers.
assign_ports() {
  local instance=$1 folder base=
  folder=$(instance_folder "$instance")
  [ ! -s "$folder/ports" ] || base=$(<"$folder/ports")
  if [ -n "${HOSTK8S_TESTBED_API_PORT:-}" ] && [ "$base" != "$HOSTK8S_TESTBED_API_PORT" ]; then
    stop_daemons_of_control_plane "$folder"
    base=$HOSTK8S_TESTBED_API_PORT
  fi
  if [ -n "$base" ] && ! are_ports_usable "$folder" "$base"; then
    [ -z "${HOSTK8S_TESTBED_API_PORT:-}" ] || fail "port $base or one of the three after it is taken by another program"
    say "the ports from $base on are taken by another program by now: choosing others"
    base=
  fi
  [ -n "$base" ] || base=$(choose_ports 4 "$STATE/$instance")
  echo "$base" >"$folder/ports"
}

# Our own daemons may sit on them.
are_ports_usable() {
  local folder=$1 base=$2
  { is_running "$folder" api-server || is_port_free "$base"; } &&
    { is_running "$folder" controller-manager || is_port_free $((base + 1)); } &&
    { is_running "$folder" etcd || { is_port_free $((base + 2)) && is_port_free $((base + 3)); }; }
}

api_url() { echo "https://127.0.0.1:$(<"$1/ports")"; }

# The same two users in every cluster of the testbed: one who may do all, one who may do nothing.
write_control_plane_access() {
  local instance=$1 folder context=hostk8s-testbed-$1 admin limited
  folder=$(instance_folder "$instance")
  if [ ! -s "$folder/tokens.csv" ]; then
    (umask 077 && printf '%s,admin,admin,system:masters\n%s,limited,limited\n' "$(openssl rand -hex 16)" "$(openssl rand -hex 16)" >"$folder/tokens.csv")
  fi
  admin=$(awk -F, '$2 == "admin" { print $1 }' "$folder/tokens.csv")
  limited=$(awk -F, '$2 == "limited" { print $1 }' "$folder/tokens.csv")
  write_kubeconfig "$folder/kubeconfig" "$(api_url "$folder")" "$folder/certificates/ca.crt" "$context" admin "$admin"
  write_kubeconfig "$folder/kubeconfig-limited" "$(api_url "$folder")" "$folder/certificates/ca.crt" "$context" limited "$limited"
}

start_etcd() {
  local folder=$1 base client peer
  local -a durability=()
  if is_running "$folder" etcd; then return 0; fi
  base=$(<"$folder/ports")
  client=http://127.0.0.1:$((base + 2)) peer=http://127.0.0.1:$((base + 3))
  # Test data need not survive a power cut; Debian 12's etcd (3.4) has no such switch yet.
  if "$ETCD" --help 2>&1 | grep -q -- --unsafe-no-fsync; then durability=(--unsafe-no-fsync); fi
  # One member elects itself: the less it waits for others, the sooner it is there.
  start_daemon "$folder" etcd "$ETCD" "${durability[@]}" --name default --data-dir "$folder/etcd-data" \
    --heartbeat-interval=20 --election-timeout=200 \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
  await_daemon "$folder" etcd "$client/health"
}

start_api_server() {
  local folder=$1 base keys=$1/certificates
  if ! is_running "$folder" api-server; then
    base=$(<"$folder/ports")
    # The address is advertised to nobody (no endpoint reconciler), but must not be a loopback one: TEST-NET-2, RFC 5737.
    start_daemon "$folder" api-server "$(binaries_folder)/kube-apiserver" --etcd-servers="http://127.0.0.1:$((base + 2))" \
      --bind-address=127.0.0.1 --secure-port="$base" --advertise-address=198.51.100.1 --endpoint-reconciler-type=none \
      --tls-cert-file="$keys/server.crt" --tls-private-key-file="$keys/server.key" --cert-dir="$keys" \
      --service-account-issuer=https://kubernetes.default.svc --api-audiences=api \
      --service-account-key-file="$keys/sa.pub" --service-account-signing-key-file="$keys/sa.key" \
      --token-auth-file="$folder/tokens.csv" --authorization-mode=RBAC --allow-privileged=true \
      --service-cluster-ip-range=10.96.0.0/16 --disable-admission-plugins=ServiceAccount
  fi
  # The controller manager gives up when it finds nothing there, and it may start while the API server gets ready.
  wait_until 60 listens_or_died "$folder" api-server "$(<"$folder/ports")" || fail_control_plane "$folder" api-server
}

start_controller_manager() {
  local folder=$1 port
  port=$(($(<"$folder/ports") + 1))
  if ! is_running "$folder" controller-manager; then
    start_daemon "$folder" controller-manager "$(binaries_folder)/kube-controller-manager" --kubeconfig="$folder/kubeconfig" \
      --leader-elect=false --kube-api-qps=200 --kube-api-burst=400 --service-account-private-key-file="$folder/certificates/sa.key" --root-ca-file="$folder/certificates/ca.crt" \
      --bind-address=127.0.0.1 --port=0 --secure-port="$port" --tls-cert-file="$folder/certificates/server.crt" --tls-private-key-file="$folder/certificates/server.key"
  fi
}

await_daemon() {
  local folder=$1 name=$2 url=$3
  wait_until 60 answers_or_died "$folder" "$name" "$url" || fail_control_plane "$folder" "$name"
  is_running "$folder" "$name" || fail_control_plane "$folder" "$name"
}

# answers FOLDER URL; answers_or_died FOLDER DAEMON URL: a daemon that died need not be waited for.
answers() { curl --silent --fail --noproxy '*' --max-time 5 --cacert "$1/certificates/ca.crt" --output /dev/null "$2"; }
listens_or_died() { ! is_running "$1" "$2" || ! is_port_free "$3"; }
answers_or_died() { ! is_running "$1" "$2" || answers "$1" "$3"; }

# The controller manager makes this account in every new namespace: when it stands, its controllers work.
has_default_service_account() {
  "$KUBECTL" --kubeconfig "$1/kubeconfig" --request-timeout 5s -n default get serviceaccount default >/dev/null 2>&1
}

fail_control_plane() {
  say_log_end "$1/$2.log"
  fail "$2 did not start; its log is $1/$2.log"
}

is_control_plane_ready() {
  local folder=$1 name
  [ -s "$folder/ports" ] || return 1
  if [ -n "${HOSTK8S_TESTBED_API_PORT:-}" ] && [ "$(<"$folder/ports")" != "$HOSTK8S_TESTBED_API_PORT" ]; then return 1; fi
  for name in etcd api-server controller-manager; do
    is_running "$folder" $name || return 1
  done
  answers "$folder" "$(api_url "$folder")/readyz"
}

stop_daemons_of_control_plane() {
  local folder=$1
  # The API server waits for open watches to end: a test need not.
  stop_daemon "$folder" controller-manager 2
  stop_daemon "$folder" api-server 2
  stop_daemon "$folder" etcd 5
}

# down: the instance and all that it stored; stop: the data stays.
down_control_plane() {
  local folder
  ! is_cluster_given || return 0
  folder=$(instance_folder "$1")
  [ -d "$folder" ] || return 0
  stop_daemons_of_control_plane "$folder"
  rm -rf -- "$folder"
  rmdir "$STATE/control-planes" 2>/dev/null || true
  say "the control plane '$1' is gone"
}

stop_control_plane() {
  require_instance "$1"
  stop_daemons_of_control_plane "$(instance_folder "$1")"
}

stop_api_server() {
  require_instance "$1"
  stop_daemon "$(instance_folder "$1")" api-server 2
}

wipe_control_plane() {
  require_instance "$1"
  stop_daemons_of_control_plane "$(instance_folder "$1")"
  rm -rf -- "$(instance_folder "$1")/etcd-data"
  up_control_plane "$1"
}

require_instance() {
  [ -d "$(instance_folder "$1")" ] || fail "there is no control plane '$1': 'testbed up control-plane --instance $1' makes it"
}

list_instances() {
  local folder
  for folder in "$STATE"/control-planes/*/; do
    [ ! -d "$folder" ] || basename "$folder"
  done
}
