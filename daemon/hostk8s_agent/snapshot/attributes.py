"""Extended attributes and ACLs of a restored entry, compared with those that its listing has.

An archive has an ACL twice: as text, and as the attribute `system.posix_acl_access` or `..._default`, which are the
bytes that the kernel keeps (GNU tar with `--xattrs --acls`). The bytes are compared.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from hostk8s_agent.snapshot.reading import find_gnu_tar

if TYPE_CHECKING:
    from pathlib import Path

    from hostk8s_agent.snapshot.listing import Entry

_ATTRIBUTE: Final = "SCHILY.xattr."
_ACL: Final = "SCHILY.acl."
_ACL_BYTES: Final = f"{_ATTRIBUTE}system.posix_acl_"
_ABSENT: Final = (errno.ENODATA, errno.ENOTSUP)


class AttributeComparer:
    """Compares entry after entry; `not_compared` says afterwards what could not be, and why: sentences, each once."""

    def __init__(self) -> None:
        self.not_compared: list[str] = []

    def find_difference(self, path: Path, entry: Entry) -> str:
        """Return the name of an attribute that the restored entry does not have as it was, empty when all is so.

        An attribute that is missing is no difference where the file system that it was restored to takes none like it:
        that is tried on the entry itself, which is scratch.
        """
        if not entry.attributes:
            return ""
        if not find_gnu_tar() or not hasattr(os, "getxattr"):
            self._note("extended attributes and ACLs: this machine has no GNU tar that could set them")
            return ""
        names = {key for key, _ in entry.attributes}
        for key, value in entry.attributes:
            if key.startswith(_ATTRIBUTE):
                name, wanted = key.removeprefix(_ATTRIBUTE), bytes.fromhex(value)
                found = _read(path, name)
                if found != wanted and (found is not None or not self._is_refused(path, name, wanted)):
                    return name
                continue
            has_bytes = f"{_ACL_BYTES}{key.removeprefix(_ACL)}" in names
            # Without a mask an ACL says what the mode says, which was compared.
            if key.startswith(_ACL) and not has_bytes and b"mask:" in bytes.fromhex(value):
                self._note("ACLs that the archive has as text alone")
        return ""

    def _is_refused(self, path: Path, name: str, value: bytes) -> bool:
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode):
            # Or an ordinary user is refused for a file's mode.
            path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IWUSR)
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            what = "ACLs" if name.startswith("system.posix_acl_") else f"attributes {name.partition('.')[0]}.*"
            self._note(f"{what}: where the scratch lies none can be set ({error.strerror})")
            return True
        return False

    def _note(self, words: str) -> None:
        if words not in self.not_compared:
            self.not_compared.append(words)


def _read(path: Path, name: str) -> bytes | None:
    """Return an attribute's value, None where there is none."""
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
