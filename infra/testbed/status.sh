# What is up, for people and for programs.

# Paths, addresses and versions only: backslash and quote are all that JSON needs escaped in them.
json_string() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

describe_engine() {
  local host version='' is_ours=false
  host=$(find_engine)
  if [ -n "$host" ]; then version=$(docker --host "$host" version --format '{{.Server.Version}}' 2>/dev/null) || true; fi
  if [ "$host" = "$(own_engine_host)" ]; then is_ours=true; fi
  printf '%s\n' "${host:--}" "${version:--}" "$is_ours"
}

# describe_control_plane INSTANCE: state, url, kubeconfig.
describe_control_plane() {
  local folder state=stopped
  folder=$(instance_folder "$1")
  if is_control_plane_ready "$folder"; then
    state=ready
  elif is_running "$folder" etcd || is_running "$folder" api-server; then
    state=broken
  fi
  printf '%s\n' "$state" "$(api_url "$folder" 2>/dev/null || echo -)" "$folder/kubeconfig"
}

print_status() {
  local -a engine plane node
  local instance
  mapfile -t engine < <(describe_engine)
  printf 'engine         %s\n' "$([ "${engine[0]}" = - ] && echo 'down' || echo "ready    ${engine[0]}  Docker ${engine[1]}$([ "${engine[2]}" = true ] && echo ', ours')")"
  if is_cluster_given; then
    printf 'control plane  given    %s\n' "$HOSTK8S_TESTBED_KUBECONFIG"
  elif [ -z "$(list_instances)" ]; then
    printf 'control plane  down\n'
  fi
  for instance in $(list_instances); do
    mapfile -t plane < <(describe_control_plane "$instance")
    printf 'control plane  %-8s %s  Kubernetes %s, instance %s, KUBECONFIG=%s\n' "${plane[0]}" "${plane[1]}" "$KUBERNETES_VERSION" "$instance" "${plane[2]}"
  done
  mapfile -t node < <(describe_node)
  printf 'node           %s' "${node[0]}"
  [ "${node[0]}" = down ] || printf '    %s  container %s, volume %s, KUBECONFIG=%s' "${node[1]}" "${node[2]}" "${node[3]}" "${node[4]}"
  printf '\nstate          %s\ncache          %s\n' "$STATE" "$CACHE"
}

print_status_as_json() {
  local -a engine plane node
  local instance separator=''
  mapfile -t engine < <(describe_engine)
  mapfile -t node < <(describe_node)
  printf '{"state_folder": %s, "cache_folder": %s, "kubernetes_version": %s,\n' "$(json_string "$STATE")" "$(json_string "$CACHE")" "$(json_string "$KUBERNETES_VERSION")"
  if [ "${engine[0]}" = - ]; then
    printf ' "engine": {"status": "down"},\n'
  else
    printf ' "engine": {"status": "ready", "host": %s, "version": %s, "is_ours": %s},\n' "$(json_string "${engine[0]}")" "$(json_string "${engine[1]}")" "${engine[2]}"
  fi
  printf ' "given_kubeconfig": %s,\n "control_planes": [' "$(is_cluster_given && json_string "$HOSTK8S_TESTBED_KUBECONFIG" || echo null)"
  for instance in $(list_instances); do
    mapfile -t plane < <(describe_control_plane "$instance")
    printf '%s\n  {"instance": %s, "status": %s, "url": %s, "kubeconfig": %s}' "$separator" "$(json_string "$instance")" "$(json_string "${plane[0]}")" "$(json_string "${plane[1]}")" "$(json_string "${plane[2]}")"
    separator=,
  done
  printf '],\n "node": '
  if [ "${node[0]}" = down ]; then
    printf '{"status": "down"}}\n'
  else
    printf '{"status": %s, "url": %s, "container": %s, "volume": %s, "kubeconfig": %s}}\n' "$(json_string "${node[0]}")" "$(json_string "${node[1]}")" "$(json_string "${node[2]}")" "$(json_string "${node[3]}")" "$(json_string "${node[4]}")"
  fi
}

# print_environment: lines for a shell. The instance's kubeconfig is named even before it is up.
print_environment() {
  local host
  host=$(find_engine)
  [ -z "$host" ] || printf 'export DOCKER_HOST=%q\n' "$host"
  printf 'export KUBECONFIG=%q\n' "$(control_plane_kubeconfig "$1")"
  # shellcheck disable=SC2016 # the shell that reads the line fills in its own PATH
  command -v kubectl >/dev/null || [ ! -x "$CACHE/debian/kubectl" ] || printf 'export PATH=%q:"$PATH"\n' "$CACHE/debian"
}
