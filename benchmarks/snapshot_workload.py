"""What is snapshotted in the benchmarks: files as databases have them, and many small ones, by a seeded generator."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORIES = 10
LARGE_FILES = 64
SMALL_FILES = 40_000
_PAGE_BYTES = 8192


def make_data(volume: Path, *, share: float = 1.0) -> list[str]:
    """Fill ten directories with 1 GiB in 64 database-like files and 40,000 files of 0.2 to 12 KB; return their names.

    A page is rows of text, a quarter of it does not compress. `share` makes less, for a trial.
    """
    dice = random.Random(7)
    names = [f"d{number}" for number in range(DIRECTORIES)]
    for name in names:
        (volume / name).mkdir(parents=True)
    pages = int((1 << 30) * share / LARGE_FILES / _PAGE_BYTES)
    for number in range(LARGE_FILES):
        with (volume / names[number % DIRECTORIES] / f"base{number:02}").open("wb") as file:
            for _ in range(pages):
                file.write(make_page(dice))
    for number in range(int(SMALL_FILES * share)):
        folder = volume / names[number % DIRECTORIES] / f"s{number // DIRECTORIES % 40:02}"
        folder.mkdir(exist_ok=True)
        size = dice.randrange(200, 12_000)
        line = b"line %d of something %08x\n" % (number, dice.getrandbits(32))
        (folder / f"f{number}").write_bytes((line * (size // len(line) + 1))[: size // 2] + dice.randbytes(size // 2))
    return names


def make_page(dice: random.Random) -> bytes:
    """Return 8 KiB as a database has them: rows of text, a quarter of it random."""
    rows = b"".join(
        b"%08d|customer-%06d|%024x|2026-01-%02d\n"
        % (dice.randrange(10**8), dice.randrange(10**6), dice.getrandbits(96), dice.randrange(1, 29))
        for _ in range(90)
    )
    return (rows + dice.randbytes(2048)).ljust(_PAGE_BYTES, b"\0")[:_PAGE_BYTES]
