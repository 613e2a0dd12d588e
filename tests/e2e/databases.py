"""SQLite and PostgreSQL in a pod: the image, the pod that writes to both without a pause, and their own checks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

IMAGE = "hostk8s.local/databases:1"
OWNER = 26
"""Whom the directory belongs to, and whom the pod runs as: PostgreSQL refuses to run as root."""

POSTGRESQL = "/usr/lib/postgresql/15"
_PROGRAMS = ("postgres", "initdb", "psql", "pg_isready", "pg_amcheck", "pg_ctl")
_MODULES = ("plpgsql.so", "dict_snowball.so", "amcheck.so")

# One connection that stays open and writes without a pause, so that the write-ahead log is always being written.
WRITE_SQLITE = """
rm -f /data/sqlite-writes
{ echo 'PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=50;'
  echo 'CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a, b); CREATE INDEX IF NOT EXISTS i ON t(a);'
  while true; do echo 'BEGIN; INSERT INTO t(a, b) SELECT random(), hex(randomblob(300)) FROM
    (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 50) SELECT x FROM n);
    DELETE FROM t WHERE id IN (SELECT id FROM t WHERE id % 7 = 0 LIMIT 40);
    DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 20000; COMMIT;'
    echo '.shell test -f /data/sqlite-writes || touch /data/sqlite-writes'; done
} | sqlite3 /data/db
"""
# Checkpoints as often as it can: data files and log change all the time.
_SERVE = """
set -e; PATH=$PATH:/usr/lib/postgresql/15/bin; umask 077
[ -f /data/pg/PG_VERSION ] || initdb -D /data/pg -A trust -E UTF8 --locale=C --wal-segsize=1 >/dev/null
pg_ctl -D /data/pg -w -t 60 -l /tmp/log start -o \
  "-k /tmp -c listen_addresses= -c jit=off -c shared_buffers=8MB -c max_wal_size=4MB -c wal_recycle=off" >/dev/null ||
  { cat /tmp/log; exit 1; }
"""
WRITE_POSTGRESQL = f"""rm -f /data/postgresql-writes
{_SERVE}
{{ echo 'CREATE EXTENSION IF NOT EXISTS amcheck;'
  echo 'CREATE TABLE IF NOT EXISTS t(id bigserial PRIMARY KEY, a float, b text);'
  echo 'CREATE INDEX IF NOT EXISTS i ON t(a);'
  while true; do echo 'INSERT INTO t(a, b) SELECT random(), repeat(md5(random()::text), 8) FROM generate_series(1, 50);
    UPDATE t SET a = random() WHERE id % 97 = 0; DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 5000;'
    echo '\\! test -f /data/postgresql-writes || touch /data/postgresql-writes'; done
}} | psql -q -h /tmp -d postgres -v ON_ERROR_STOP=1
"""
HAS_ROWS = {
    "sqlite": "[ $(sqlite3 /data/db 'SELECT count(*) > 0 FROM t') = 1 ]",
    "postgresql": f"[ $({POSTGRESQL}/bin/psql -qAt -h /tmp -d postgres -c 'SELECT count(*) > 0 FROM t') = t ]",
}
CHECK = f"""{_SERVE}
pg_amcheck -h /tmp -d postgres --heapallindexed --parent-check || exit 1
{HAS_ROWS["postgresql"]} || {{ echo "PostgreSQL is empty"; exit 1; }}
pg_ctl -D /data/pg -m fast -w stop >/dev/null
words=$(sqlite3 /data/db 'PRAGMA integrity_check')
[ "$words" = ok ] || {{ echo "SQLite: $words"; exit 1; }}
{HAS_ROWS["sqlite"]} || {{ echo "SQLite is empty"; exit 1; }}
echo ok
"""


def find_libraries(programs: Iterable[Path], below: Path) -> set[str]:
    """The shared libraries that programs need, `below` first: where unpacked packages have what this machine lacks."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(below)}
    found: set[str] = set()
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, env=environment).stdout
        found |= {word for line in listed.splitlines() for word in line.split() if word.startswith("/")}
    return found


def build_image(docker: Callable[..., str], host: str, sqlite3: str, postgresql: Path, container: str) -> None:
    """Make an image with both databases from this machine's programs, and give it to the node's containerd."""
    root = postgresql.parents[3]
    programs = [*(postgresql / "bin" / name for name in _PROGRAMS), *(postgresql / "lib" / name for name in _MODULES)]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        recipe = "FROM hostk8s.local/busybox:1\nCOPY root /\nENV LD_LIBRARY_PATH=/lib/all TZ=GMT\n"
        _add_text(archive, "Dockerfile", recipe)
        _add_text(archive, "root/etc/passwd", f"root:x:0:0::/:/bin/sh\npostgres:x:{OWNER}:{OWNER}::/tmp:/bin/sh\n")
        archive.add(Path(sqlite3).resolve(), "root/bin/sqlite3")
        for program in programs:
            archive.add(program.resolve(), f"root{POSTGRESQL}/{program.relative_to(postgresql)}")
        archive.add(root / "usr/share/postgresql/15", "root/usr/share/postgresql/15")
        for library in find_libraries([Path(sqlite3), *programs], root / "usr/lib/x86_64-linux-gnu"):
            place = library if "ld-linux" in library else f"/lib/all/{Path(library).name}"
            archive.add(Path(library).resolve(), f"root{place}")
    command = ["docker", "--host", host, "build", "--quiet", "--tag", IMAGE, "-"]
    subprocess.run(command, input=context.getvalue(), capture_output=True, check=True)
    into = ["docker", "--host", host, "exec", "-i", container, "ctr", "-n", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(["docker", "--host", host, "save", IMAGE], stdout=subprocess.PIPE) as saved:
        subprocess.run(into, stdin=saved.stdout, capture_output=True, check=True)
    assert saved.returncode == 0
    assert docker("image", "inspect", IMAGE)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, io.BytesIO(text.encode()))


def render_pod(namespace: str) -> str:
    """A pod with one container for each database, which begins anew or goes on where the directory stands.

    Each makes a file `<its name>-writes` in the directory once it has written rows.
    """
    containers = [
        {
            "name": name,
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        for name, script in (("sqlite", WRITE_SQLITE), ("postgresql", WRITE_POSTGRESQL))
    ]
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "db", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": OWNER, "runAsGroup": OWNER},
            "containers": containers,
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
        },
    }
    return json.dumps(pod)


def check(docker: Callable[..., str], folder: Path) -> str:
    """What the databases say of themselves in a folder, their logs replayed: `ok` if both are whole and hold rows."""
    arguments = ("run", "--rm", "--network", "none", "--user", f"{OWNER}:{OWNER}", "--volume", f"{folder}:/data")
    return docker(*arguments, IMAGE, "/bin/sh", "-c", CHECK)
