# A node, as Kind has it: one container with a whole Kubernetes in it, the volume at /mnt/pv, the API server's port on loopback.

CLUSTER=${HOSTK8S_TESTBED_CLUSTER:-hostk8s}
VOLUME=${HOSTK8S_TESTBED_VOLUME:-hostk8s-pv-data}
NODE_CONTAINER=$CLUSTER-control-plane
OWNER_LABEL=hostk8s.testbed

node_folder() { echo "$STATE/node"; }
node_kubeconfig() { if is_cluster_given; then echo "$HOSTK8S_TESTBED_KUBECONFIG"; else echo "$(node_folder)/kubeconfig"; fi; }

install_node() {
  ! is_cluster_given || return 0
  require_kubectl
  install_packages openssl
  if uses_kind; then return 0; fi
  require_kubernetes_binaries
  require_node_tree_by_lock
  # Images live in an engine; without one they are made when the node comes up.
  [ -z "$(find_engine)" ] || { require_engine && require_images; }
}

require_node_tree_by_lock() { [ -d "$CACHE/node-tree" ] || with_lock cache/node-image require_node_tree; }

uses_kind() { [ "${HOSTK8S_TESTBED_NODE:-}" != own ] && command -v kind >/dev/null; }

up_node() {
  local mount
  if is_cluster_given; then
    require_given_cluster
    return
  fi
  require_engine
  require_kubectl
  mount=${NODE_MOUNT:-$VOLUME}
  refuse_foreign_container
  refuse_foreign_volume "$mount"
  if has_node_container && [ -s "$(node_folder)/mount" ]; then
    keep_node "$mount"
  else
    # Ours, but of a life of which nothing else is left.
    remove_node_container
    install_node
    make_node "$mount"
  fi
}

# keep_node MOUNT: one that is there is started if need be, but never turned into another one.
keep_node() {
  local mount=$1 found started=$SECONDS
  found=$(<"$(node_folder)/mount")
  [ -z "$NODE_MOUNT" ] || [ "$found" = "$mount" ] || fail "the node is there with '$found' at /mnt/pv, not '$mount': 'testbed recreate node --mount $mount' makes it anew"
  [ -z "$NODE_PORT" ] || [ "$NODE_PORT" = "$(<"$(node_folder)/ports")" ] || fail "the node is there at port $(<"$(node_folder)/ports"): 'testbed recreate node --port $NODE_PORT' makes it anew"
  case $(docker container inspect --format '{{.State.Status}}' "$NODE_CONTAINER") in
    running) ;;
    paused) quietly docker unpause "$NODE_CONTAINER" ;;
    *) quietly docker start "$NODE_CONTAINER" ;;
  esac
  if ! is_node_ready; then
    await_node
    say "the node $NODE_CONTAINER is ready again, after $((SECONDS - started)) s"
  fi
}

make_node() {
  local mount=$1 started=$SECONDS
  mkdir -p "$(node_folder)"
  [ "$mount" = none ] || has_volume "$mount" || quietly docker volume create --label "$OWNER_LABEL=$STATE_ID" "$mount"
  with_lock ports assign_node_port
  echo "$mount" >"$(node_folder)/mount"
  if ! uses_kind || ! make_kind_node "$mount"; then make_own_node "$mount"; fi
  await_node
  say "the node $NODE_CONTAINER is ready at https://127.0.0.1:$(<"$(node_folder)/ports"), after $((SECONDS - started)) s"
}

assign_node_port() {
  local file port=
  file=$(node_folder)/ports
  [ ! -s "$file" ] || port=$(<"$file")
  if [ -n "$NODE_PORT" ]; then
    is_port_free "$NODE_PORT" || fail "port $NODE_PORT is taken by another program"
    port=$NODE_PORT
  elif [ -z "$port" ] || ! is_port_free "$port"; then
    port=$(choose_ports 1 "$STATE/node/$CLUSTER")
  fi
  echo "$port" >"$file"
}

make_own_node() {
  local mount=$1 folder
  local -a mounted=()
  folder=$(node_folder)
  require_images
  say "starting the node $NODE_CONTAINER"
  [ "$mount" = none ] || mounted=(--volume "$mount:/mnt/pv")
  rm -rf -- "$folder/certificates"
  make_certificates "$folder/certificates"
  printf '%s,admin,admin,system:masters\n' "$(openssl rand -hex 16)" >"$folder/certificates/tokens.csv"
  # Not --privileged: that fails where the host itself lacks SYS_RESOURCE.
  quietly docker create --name "$NODE_CONTAINER" --hostname "$NODE_CONTAINER" --env NODE_NAME="$NODE_CONTAINER" \
    --label "io.x-k8s.kind.cluster=$CLUSTER" --label io.x-k8s.kind.role=control-plane \
    --label "$OWNER_LABEL=$STATE_ID" \
    --cap-add ALL --cap-drop SYS_RESOURCE --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --security-opt systempaths=unconfined --device-cgroup-rule 'a *:* rwm' --cgroupns=host \
    --volume /sys/fs/cgroup:/sys/fs/cgroup --volume /sys:/sys --tmpfs /tmp:exec --tmpfs /run:exec --volume /var \
    "${mounted[@]}" --publish "127.0.0.1:$(<"$folder/ports"):6443" "$(node_image)"
  quietly docker cp "$folder/certificates/." "$NODE_CONTAINER:/etc/kubernetes"
  write_kubeconfig "$folder/kubeconfig" "https://127.0.0.1:$(<"$folder/ports")" "$folder/certificates/ca.crt" "kind-$CLUSTER" admin \
    "$(cut -d, -f1 "$folder/certificates/tokens.csv")"
  quietly docker start "$NODE_CONTAINER"
}

# make_kind_node MOUNT: false when Kind cannot (mostly: its image cannot be pulled); it removes its own leftovers then.
make_kind_node() {
  local mount=$1 folder
  folder=$(node_folder)
  say "kind is here: making the node with it (log: $folder/kind.log)"
  {
    printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking:\n  apiServerAddress: 127.0.0.1\n  apiServerPort: %s\nnodes:\n  - role: control-plane\n' "$(<"$folder/ports")"
    [ "$mount" = none ] || printf '    extraMounts:\n      - hostPath: %s\n        containerPath: /mnt/pv\n' "$(docker volume inspect --format '{{.Mountpoint}}' "$mount")"
  } >"$folder/kind.yaml"
  if ! kind create cluster --name "$CLUSTER" --config "$folder/kind.yaml" --kubeconfig "$folder/kubeconfig" --wait 120s >"$folder/kind.log" 2>&1; then
    say_log_end "$folder/kind.log"
    say "kind could not make a cluster: using the testbed's own node"
    return 1
  fi
  # Kind's containers cannot be given labels: the id tells that it is ours.
  docker container inspect --format '{{.Id}}' "$NODE_CONTAINER" >"$folder/kind-container"
  with_lock cache/node-image require_pod_images
  kind load docker-image --name "$CLUSTER" "$BUSYBOX_IMAGE" >>"$folder/kind.log" 2>&1 || say "kind did not take the image $BUSYBOX_IMAGE; see $folder/kind.log"
}

await_node() {
  wait_until 180 is_node_ready_or_dead || true
  is_node_ready || {
    docker logs --tail 5 "$NODE_CONTAINER" 2>&1 | sed 's/^/  /' >&2 || true
    docker exec "$NODE_CONTAINER" tail -n 5 /var/log/hostk8s/kubelet.log 2>/dev/null | cut -c1-300 | sed 's/^/  /' >&2 || true
    fail "the node $NODE_CONTAINER is not ready; its logs: docker exec $NODE_CONTAINER ls /var/log/hostk8s"
  }
}

# Ready since its last start, that is: the API server remembers what was true before it.
is_node_ready() {
  local answer started renewed
  started=$(docker container inspect --format '{{.State.StartedAt}}' "$NODE_CONTAINER" 2>/dev/null) || return 1
  answer=$(ask_node --namespace kube-node-lease get nodes,leases \
    --output 'jsonpath={range .items[*]}{.kind}/{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{.spec.renewTime} {end}') || return 1
  [[ $answer == *"Node/$NODE_CONTAINER=True "* && $answer == *"Lease/$NODE_CONTAINER="* ]] || return 1
  renewed=${answer##*"Lease/$NODE_CONTAINER="}
  # Both are UTC and of the same form, to the second.
  [[ ! ${renewed:0:19} < ${started:0:19} ]] || return 1
  # Every pod names this account.
  ask_node --namespace default get serviceaccount default --output name >/dev/null
}

ask_node() { "$KUBECTL" --kubeconfig "$(node_folder)/kubeconfig" --request-timeout 5s "$@" 2>/dev/null; }

is_node_ready_or_dead() { is_node_ready || [ "$(docker container inspect --format '{{.State.Running}}' "$NODE_CONTAINER" 2>/dev/null)" != true ]; }

has_node_container() { docker container inspect "$NODE_CONTAINER" >/dev/null 2>&1; }
has_volume() { docker volume inspect "$1" >/dev/null 2>&1; }

is_own_container() {
  [ "$(docker container inspect --format "{{index .Config.Labels \"$OWNER_LABEL\"}}" "$NODE_CONTAINER")" = "$STATE_ID" ] ||
    { [ -s "$(node_folder)/kind-container" ] && [ "$(docker container inspect --format '{{.Id}}' "$NODE_CONTAINER")" = "$(<"$(node_folder)/kind-container")" ]; }
}

is_own_volume() { [ "$(docker volume inspect --format "{{index .Labels \"$OWNER_LABEL\"}}" "$1")" = "$STATE_ID" ]; }

# A container or volume of that name may be a developer's real cluster and its data: without our label it is left alone.
refuse_foreign_container() {
  if has_node_container && ! is_own_container; then
    refuse "the container $NODE_CONTAINER was not made by this testbed (no label $OWNER_LABEL=$STATE_ID) and may be your real cluster; set HOSTK8S_TESTBED_CLUSTER to another name"
  fi
}

refuse_foreign_volume() {
  if [ "$1" != none ] && has_volume "$1" && ! is_own_volume "$1"; then
    refuse "the volume $1 was not made by this testbed (no label $OWNER_LABEL=$STATE_ID) and may hold your real data; set HOSTK8S_TESTBED_VOLUME to another name"
  fi
}

# Only after it is known to be ours.
remove_node_container() {
  if ! has_node_container; then return 0; fi
  if [ -s "$(node_folder)/kind-container" ]; then
    kind delete cluster --name "$CLUSTER" --kubeconfig "$(node_folder)/kubeconfig" >/dev/null 2>&1 || docker rm --force --volumes "$NODE_CONTAINER" >/dev/null
  else
    docker rm --force --volumes "$NODE_CONTAINER" >/dev/null
  fi
  rm -f "$(node_folder)/kind-container"
}

recreate_node() {
  local mount
  refuse_given_cluster 'recreate node'
  require_engine
  mount=$NODE_MOUNT
  [ -n "$mount" ] || mount=$(cat "$(node_folder)/mount" 2>/dev/null || echo "$VOLUME")
  # Before anything is removed.
  refuse_foreign_container
  refuse_foreign_volume "$mount"
  remove_node_container
  install_node
  make_node "$mount"
}

down_node() {
  local volume
  ! is_cluster_given || return 0
  DOCKER_HOST=$(find_engine)
  if [ -n "$DOCKER_HOST" ]; then
    export DOCKER_HOST
    if has_node_container && is_own_container; then remove_node_container; fi
    for volume in $(docker volume ls --quiet --filter "label=$OWNER_LABEL=$STATE_ID"); do
      docker volume rm "$volume" >/dev/null || say "the volume $volume is in use and stays: 'docker ps -a --filter volume=$volume' tells by what"
    done
  fi
  if [ -d "$(node_folder)" ]; then
    rm -rf -- "$(node_folder)"
    say "the node is gone"
  fi
}

# describe_node: state, url, container, volume, kubeconfig.
describe_node() {
  local state=down mount
  DOCKER_HOST=$(find_engine)
  if is_cluster_given; then
    printf '%s\n' given - - - "$HOSTK8S_TESTBED_KUBECONFIG"
    return
  fi
  if [ -n "$DOCKER_HOST" ] && [ -d "$(node_folder)" ]; then
    export DOCKER_HOST
    require_kubectl
    if has_node_container && is_own_container; then state=$(docker container inspect --format '{{.State.Status}}' "$NODE_CONTAINER"); fi
    if [ "$state" = running ] && is_node_ready; then state=ready; fi
  fi
  mount=$(cat "$(node_folder)/mount" 2>/dev/null || echo "$VOLUME")
  printf '%s\n' "$state" "https://127.0.0.1:$(cat "$(node_folder)/ports" 2>/dev/null)" "$NODE_CONTAINER" "$mount" "$(node_folder)/kubeconfig"
}
