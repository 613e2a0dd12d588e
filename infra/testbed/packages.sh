# Debian packages: installed where they need an installation, merely unpacked into the cache where a file is enough.

# as_root COMMAND...: as it is for root, else by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "'$1' needs root: run the testbed as root, or install sudo"
  fi
}

# The same, for a command that is started in other ways than by a function.
ROOT_COMMAND=()
[ "$(id -u)" = 0 ] || ROOT_COMMAND=(sudo)

# require_root WHAT: before work that would stop half way.
require_root() { may_be_root || fail "$1 needs root: run the testbed as root, or install sudo"; }

may_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

require_debian() {
  [ -n "$(command -v apt-get)" ] ||
    fail "$1 is missing and this machine has no apt-get: install it by hand, or point HOSTK8S_TESTBED_KUBECONFIG and DOCKER_HOST at what you have"
}

# Package lists go stale within days, and a fresh machine has none: once for each run of the testbed.
PACKAGE_LISTS_ARE_FRESH=
update_package_lists() {
  local log attempt
  [ -z "$PACKAGE_LISTS_ARE_FRESH" ] || return 0
  # An ordinary user can unpack packages and build from the lists that are there.
  may_be_root || return 0
  log=$(make_workspace)/apt-update.log
  # apt-get update does not wait for its own lock, hence the attempts.
  for attempt in 1 2 3 4 5; do
    if as_root apt-get update -qq >"$log" 2>&1; then
      PACKAGE_LISTS_ARE_FRESH=yes
      return 0
    fi
    grep -q 'Could not get lock' "$log" || break
    sleep $((attempt * 2))
  done
  say_log_end "$log"
  fail "the package lists could not be read: check the network and /etc/apt, then 'apt-get update'"
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install_packages PACKAGE...: those which are missing, and no service is started by that.
install_packages() {
  local package log
  local -a missing=()
  for package; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  with_lock cache/packages install_missing_packages "${missing[@]}"
}

install_missing_packages() {
  local log
  require_debian "$*"
  require_root "installing the Debian packages $*"
  update_package_lists
  log=$(make_workspace)/apt-install.log
  say "installing Debian packages: $*"
  hold_services
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
    release_services
    say_log_end "$log"
    fail "missing Debian packages: $*; get them with 'apt-get install $*'"
  fi
  release_services
}

# install_tools: what tests use besides the parts. strace makes system calls of the agent fail, chromium shows its page,
# promtool judges its metrics and alert rules, pngquant makes pictures of the page small, zsh and fish complete its
# commands, sqlite3 and PostgreSQL write in a pod, restic keeps snapshots, and rclone (`rclone serve restic`), sshd
# and moto serve them to it over HTTP, SFTP and S3.
install_tools() {
  command -v strace >/dev/null || install_packages strace
  command -v zsh >/dev/null || install_packages zsh
  command -v fish >/dev/null || install_packages fish
  find_tool sqlite3 >/dev/null || install_packages sqlite3
  find_tool chromium >/dev/null || install_packages chromium
  find_tool pngquant >/dev/null || install_packages pngquant
  find_tool postgresql >/dev/null || with_lock cache/postgresql unpack_postgresql
  find_tool restic >/dev/null || with_lock cache/restic unpack_from_package restic /usr/bin/restic "$CACHE/debian/restic"
  find_tool rclone >/dev/null || with_lock cache/rclone unpack_from_package rclone /usr/bin/rclone "$CACHE/debian/rclone"
  find_tool sshd >/dev/null || with_lock cache/sshd unpack_sshd
  command -v ssh >/dev/null || install_packages openssh-client
  find_tool moto_server >/dev/null || with_lock cache/moto install_moto
  find_tool promtool >/dev/null || with_lock cache/promtool unpack_from_package prometheus /usr/bin/promtool "$CACHE/debian/promtool"
}

# find_tool NAME: prints where it is; nothing when it is missing. PostgreSQL is a folder, with bin/ and lib/ in it.
find_tool() {
  local folder
  if [ "$1" = postgresql ]; then
    for folder in {,"$CACHE/debian/postgresql"}/usr/lib/postgresql/15; do
      [ ! -x "$folder/bin/postgres" ] || [ ! -x "$folder/bin/pg_amcheck" ] || { echo "$folder" && return 0; }
    done
    return 1
  fi
  # Elsewhere it may be any version's, and without what its server needs.
  if [ "$1" = moto_server ]; then
    command -v "$CACHE/moto/bin/moto_server"
    return
  fi
  command -v "$1" || command -v "$CACHE/debian/$1"
}

# unpack_postgresql: the server and what it lacks on this machine, without installing it: that would make a cluster of it.
unpack_postgresql() {
  local folder packages
  require_debian postgresql-15
  update_package_lists
  folder=$(make_workspace)
  packages=$(apt-get install --simulate --no-install-recommends postgresql-15 2>"$folder/apt.log" |
    awk '$1 == "Inst" && $2 ~ /^(lib|postgresql-(client-)?15)/ && $2 !~ /llvm|perl/ { print $2 }')
  say "unpacking PostgreSQL from Debian packages"
  # shellcheck disable=SC2086 # a list of names
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User= download ${packages:-postgresql-15 postgresql-client-15} >>apt.log 2>&1) || {
    say_log_end "$folder/apt.log"
    fail "the Debian package postgresql-15 is missing: check that 'apt-get download postgresql-15' works"
  }
  rm -rf -- "$CACHE/debian/postgresql.new" "$CACHE/debian/postgresql"
  mkdir -p "$CACHE/debian/postgresql.new"
  for packages in "$folder"/*.deb; do dpkg-deb -x "$packages" "$CACHE/debian/postgresql.new"; done
  mv "$CACHE/debian/postgresql.new" "$CACHE/debian/postgresql"
}

# unpack_sshd: the server and the library that it lacks, without installing it: that would make a service of it.
unpack_sshd() {
  local folder package
  require_debian openssh-server
  update_package_lists
  folder=$(make_workspace)
  say "unpacking sshd from Debian packages"
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User= download openssh-server libwrap0 >apt.log 2>&1) || {
    say_log_end "$folder/apt.log"
    fail "the Debian package openssh-server is missing: check that 'apt-get download openssh-server' works"
  }
  rm -rf -- "$CACHE/debian/openssh"
  mkdir -p "$CACHE/debian/openssh"
  for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$CACHE/debian/openssh"; done
  # It starts itself anew by the name that it was called by, which has to be a whole path.
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' \
    "$(dirname "$CACHE"/debian/openssh/usr/lib/*/libwrap.so.0)" "$CACHE/debian/openssh/usr/sbin/sshd" >"$CACHE/debian/sshd.new"
  chmod 755 "$CACHE/debian/sshd.new"
  mv "$CACHE/debian/sshd.new" "$CACHE/debian/sshd"
}

# install_moto: a server of S3's protocol out of Python packages, in an environment of its own: 140 MB that no other
# test needs.
MOTO_PACKAGES=('moto[s3]==5.2.5' 'flask>=3,<4' 'flask-cors>=6,<7')
install_moto() {
  local log
  log=$(make_workspace)/moto.log
  say "installing ${MOTO_PACKAGES[0]}"
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  rm -rf -- "$CACHE/moto"
  if ! { python3 -m venv "$CACHE/moto" && "$CACHE/moto/bin/pip" install -q --disable-pip-version-check "${MOTO_PACKAGES[@]}"; } >"$log" 2>&1; then
    say_log_end "$log"
    rm -rf -- "$CACHE/moto"
    fail "moto is missing: check that 'pip download moto' works"
  fi
}

print_tool() {
  find_tool "$1" || fail "$1 is missing: get it with 'testbed install tools'"
}

# Debian starts the services of a package that it installs. A policy file that says no (and only ours) prevents that:
# a second dockerd on the default socket would be one that `testbed down` may not stop.
SERVICE_POLICY=/usr/sbin/policy-rc.d
SERVICE_POLICY_MARK='# written by the hostk8s testbed while it installs packages; may be removed'
SERVICES_ARE_HELD=
hold_services() {
  if [ -e "$SERVICE_POLICY" ] && ! grep -qsxF "$SERVICE_POLICY_MARK" "$SERVICE_POLICY"; then return 0; fi
  SERVICES_ARE_HELD=yes
  printf '#!/bin/sh\n%s\nexit 101\n' "$SERVICE_POLICY_MARK" | as_root tee "$SERVICE_POLICY" >/dev/null
  as_root chmod 755 "$SERVICE_POLICY"
}

release_services() {
  if [ "$SERVICES_ARE_HELD" = yes ] && grep -qsxF "$SERVICE_POLICY_MARK" "$SERVICE_POLICY"; then as_root rm -f "$SERVICE_POLICY"; fi
}

# unpack_from_package PACKAGE PATH TARGET: one file out of a Debian package, without installing it
# (etcd-server, for one, would bring a service on the default port).
unpack_from_package() {
  local package=$1 path=$2 target=$3 folder
  require_debian "$package"
  update_package_lists
  folder=$(make_workspace)
  say "unpacking ${path##*/} from the Debian package $package"
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User= download "$package" >apt.log 2>&1) || {
    say_log_end "$folder/apt.log"
    fail "the Debian package $package is missing: check that 'apt-get download $package' works"
  }
  dpkg-deb -x "$folder/$package"_*.deb "$folder/tree"
  mkdir -p "${target%/*}"
  cp "$folder/tree$path" "$target.new"
  mv "$target.new" "$target"
}

# list_archive_uris: `main <uri>` and `security <uri>`, as this machine's own apt sources have them.
# apt itself is asked, because it reads both kinds of sources files.
list_archive_uris() {
  # shellcheck disable=SC2016 # the names are apt's, not the shell's
  apt-get indextargets --format '$(RELEASE) $(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
    awk '$2 == "Debian" { kind = ($1 ~ /-security$/) ? "security" : "main"
                          if ($1 !~ /-(updates|backports)/ && !seen[kind]++) print kind, $3 }'
}

# find_archive_uri: the main archive; nothing when this machine's sources have none.
find_archive_uri() {
  list_archive_uris | awk '$1 == "main" { print $2 }'
}
