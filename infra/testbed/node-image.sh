# The images: a busybox for pods, a pause for the kubelet, and the node itself. No registry is asked; all come from Debian packages.

BUSYBOX_IMAGE=hostk8s.local/busybox:1
PAUSE_IMAGE=hostk8s.local/pause:1
NODE_PACKAGES=containerd,runc,iptables,iproute2,containernetworking-plugins,ca-certificates,conntrack,ethtool,socat,mount,util-linux,kmod,etcd-server,procps,openssl,hostname

# A new recipe is a new image.
node_image() {
  echo "hostk8s.local/node:$KUBERNETES_VERSION-$({ echo "$NODE_PACKAGES" && cat "$HERE/node-init" "$HERE/node-image.sh"; } | sha256sum | cut -c1-8)"
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# require_images: on the engine in use, under the cache's lock, because two node builds at once would fill the same tree.
require_images() {
  if has_image "$BUSYBOX_IMAGE" && has_image "$PAUSE_IMAGE" && has_image "$(node_image)"; then return 0; fi
  with_lock cache/node-image build_images
}

build_images() {
  require_pod_images
  has_image "$(node_image)" || build_node_image
}

require_pod_images() {
  local folder
  if has_image "$BUSYBOX_IMAGE" && has_image "$PAUSE_IMAGE"; then return 0; fi
  [ -x "$CACHE/debian/busybox" ] || unpack_from_package busybox-static /bin/busybox "$CACHE/debian/busybox"
  folder=$(make_workspace)
  mkdir -p "$folder/bin" "$folder/tmp" "$folder/etc"
  chmod 1777 "$folder/tmp"
  echo 'root:x:0:0:root:/:/bin/sh' >"$folder/etc/passwd"
  cp "$CACHE/debian/busybox" "$folder/bin/"
  "$folder/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$folder/bin/$applet"
  done
  import_image "$BUSYBOX_IMAGE" 'CMD ["/bin/sh"]' --directory="$folder" .
  import_image "$PAUSE_IMAGE" 'CMD ["/bin/sleep", "2147483647"]' --directory="$folder" .
}

# import_image NAME CHANGE TAR_ARGUMENTS...
import_image() {
  local name=$1 change=$2
  shift 2
  as_root tar --create --numeric-owner --owner=+0 --group=+0 "$@" | docker import --change "$change" --change "LABEL hostk8s.testbed=image" - "$name" >/dev/null ||
    fail "the engine does not import the image $name"
}

build_node_image() {
  local folder program started=$SECONDS
  require_kubernetes_binaries
  require_node_tree
  folder=$(make_workspace)
  say "making the node's image"
  mkdir -p "$folder/opt/hostk8s"
  for program in "${KUBERNETES_PROGRAMS[@]}"; do
    ln "$(binaries_folder)/$program" "$folder/opt/hostk8s/" 2>/dev/null || cp "$(binaries_folder)/$program" "$folder/opt/hostk8s/"
  done
  install -m 755 "$HERE/node-init" "$folder/opt/hostk8s/node-init"
  docker save --output "$folder/opt/hostk8s/pods.tar" "$BUSYBOX_IMAGE" "$PAUSE_IMAGE"
  # The tree keeps its owners. What is ours is added to the same archive, below a folder that the tree has not:
  # the engine takes no path twice.
  as_root tar --create --numeric-owner --directory="$CACHE/node-tree" . --directory="$folder" ./opt/hostk8s |
    docker import --change 'CMD ["/opt/hostk8s/node-init"]' --change "LABEL hostk8s.testbed=image" - "$(node_image)" >/dev/null ||
    fail "the engine does not import the node's image"
  forget_old_node_images
  rm -rf -- "$folder"
  say "the node's image is made, in $((SECONDS - started)) s"
}

# Each is near 1 GB. One that a container still uses stays.
forget_old_node_images() {
  local image
  for image in $(docker image ls --filter label=hostk8s.testbed=image --format '{{.Repository}}:{{.Tag}}' hostk8s.local/node); do
    [ "$image" = "$(node_image)" ] || docker image rm "$image" >/dev/null 2>&1 || true
  done
}

require_node_tree() {
  local uri new=$CACHE/node-tree.new log=$CACHE/node-tree.log
  [ ! -d "$CACHE/node-tree" ] || return 0
  require_root "making the node's system"
  install_packages debootstrap
  update_package_lists
  uri=$(find_archive_uri)
  [ -n "$uri" ] || fail "the apt sources of this machine name no Debian archive, which the node's system is made from"
  require_space "$CACHE" 3000
  say "making the node's system from Debian packages: the first time takes about a minute (log: $log)"
  as_root umount "$new/proc" "$new/sys" 2>/dev/null || true
  as_root rm -rf --one-file-system -- "$new"
  as_root debootstrap --variant=minbase --include="$NODE_PACKAGES" "$KUBERNETES_SUITE" "$new" "$uri" >"$log" 2>&1 || {
    say_log_end "$log"
    fail "debootstrap could not make the node's system from $KUBERNETES_SUITE: see $log"
  }
  as_root find "$new/var/cache/apt" "$new/var/lib/apt/lists" "$new/usr/share/doc" "$new/usr/share/locale" -mindepth 1 -delete
  as_root mv "$new" "$CACHE/node-tree"
}
