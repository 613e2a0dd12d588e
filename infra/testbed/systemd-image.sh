# A machine with a real systemd, as a container's image: the service is installed, started, killed and watched in it.

SYSTEMD_PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,python3,strace
SYSTEMD_SUITE=bookworm

# A new recipe is a new image.
systemd_image() {
  echo "hostk8s.local/systemd:$({ echo "$SYSTEMD_PACKAGES" && cat "$HERE/systemd-image.sh"; } | sha256sum | cut -c1-8)"
}

# Other packages are another tree.
systemd_tree() { echo "$CACHE/systemd-tree-$(echo "$SYSTEMD_SUITE $SYSTEMD_PACKAGES" | sha256sum | cut -c1-8)"; }

install_systemd() {
  # Besides, what the tests of units and property lists ask: systemd-escape and plistutil.
  install_packages systemd libplist-utils
  [ -d "$(systemd_tree)" ] || with_lock cache/systemd-image require_systemd_tree
}

# up_systemd: there is no container of the testbed's own; each test has one, made from the image that this makes.
up_systemd() {
  require_engine
  has_image "$(systemd_image)" || with_lock cache/systemd-image build_systemd_image
}

down_systemd() { :; }

build_systemd_image() {
  local folder image unit started=$SECONDS
  local -a masks=()
  # Another testbed may have made it while this one waited.
  has_image "$(systemd_image)" && return 0
  require_systemd_tree
  folder=$(make_workspace)
  mkdir -p "$folder/etc/systemd/system"
  # What a container has no use for, and what would only fail in it.
  for unit in systemd-udevd.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
    systemd-modules-load.service getty@tty1.service console-getty.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    # The engine takes no path twice.
    [ ! -L "$(systemd_tree)/etc/systemd/system/$unit" ] || continue
    ln -s /dev/null "$folder/etc/systemd/system/$unit"
    masks+=("./etc/systemd/system/$unit")
  done
  as_root tar --create --numeric-owner --directory="$(systemd_tree)" . --directory="$folder" "${masks[@]}" |
    docker import --change 'CMD ["/sbin/init"]' --change "LABEL hostk8s.testbed=image" \
      - "$(systemd_image)" >/dev/null || fail "the engine does not import the image with systemd"
  for image in $(docker image ls --filter label=hostk8s.testbed=image --format '{{.Repository}}:{{.Tag}}' hostk8s.local/systemd); do
    [ "$image" = "$(systemd_image)" ] || docker image rm "$image" >/dev/null 2>&1 || true
  done
  rm -rf -- "$folder"
  say "the image with systemd is made, in $((SECONDS - started)) s"
}

require_systemd_tree() {
  local uri new=$CACHE/systemd-tree.new log=$CACHE/systemd-tree.log
  [ ! -d "$(systemd_tree)" ] || return 0
  require_root "making a system with systemd"
  install_packages debootstrap
  update_package_lists
  uri=$(find_archive_uri)
  [ -n "$uri" ] || fail "the apt sources of this machine name no Debian archive, which the system with systemd is made from"
  require_space "$CACHE" 1000
  say "making a system with systemd from Debian packages: the first time takes about a minute (log: $log)"
  as_root umount "$new/proc" "$new/sys" 2>/dev/null || true
  as_root rm -rf --one-file-system -- "$new"
  as_root debootstrap --variant=minbase --include="$SYSTEMD_PACKAGES" "$SYSTEMD_SUITE" "$new" "$uri" >"$log" 2>&1 || {
    say_log_end "$log"
    fail "debootstrap could not make a system with systemd from $SYSTEMD_SUITE: see $log"
  }
  # Somebody who is not root, for a user unit.
  as_root chroot "$new" useradd --create-home --uid 1000 --shell /bin/bash ada
  as_root find "$new/var/cache/apt" "$new/var/lib/apt/lists" "$new/usr/share/doc" "$new/usr/share/locale" -mindepth 1 -delete
  # One machine id for all containers is none at all: systemd makes one at each first start.
  : | as_root tee "$new/etc/machine-id" >/dev/null
  as_root mv "$new" "$(systemd_tree)"
}
