"""Which line of a file had a key first: a table of 12 to 24 bytes a key, where a dictionary of texts takes 150.

A key is kept as the 64 bits of Python's own keyed hash, so two different keys are taken for one another once in
millions of files of a million rows, and nobody can make them on purpose.
"""

from __future__ import annotations

from array import array

_FULLEST = 0.6


class FirstLines:
    """A hash table with open addressing; it grows as it fills."""

    def __init__(self) -> None:
        self._mask = (1 << 12) - 1
        self._count = 0
        self._marks = array("Q", bytes(8 * (self._mask + 1)))
        self._lines = array("I", bytes(4 * (self._mask + 1)))

    def first(self, key: object, line: int) -> int | None:
        """The line that had the key before; None when this is the first, which is remembered."""
        place = self._place(mark := _mark_of(key))
        if self._marks[place]:
            return self._lines[place]
        self._marks[place], self._lines[place] = mark, line
        self._count += 1
        if self._count > _FULLEST * self._mask:
            self._grow()
        return None

    def line_of(self, key: object) -> int | None:
        """The line that had the key; nothing is remembered."""
        place = self._place(_mark_of(key))
        return self._lines[place] if self._marks[place] else None

    def _place(self, mark: int) -> int:
        marks, mask = self._marks, self._mask
        place = mark & mask
        while (found := marks[place]) and found != mark:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        marks, lines = self._marks, self._lines
        self._mask = 2 * self._mask + 1
        self._marks = array("Q", bytes(8 * (self._mask + 1)))
        self._lines = array("I", bytes(4 * (self._mask + 1)))
        for mark, line in zip(marks, lines, strict=True):
            if mark:
                place = self._place(mark)
                self._marks[place], self._lines[place] = mark, line


def _mark_of(key: object) -> int:
    """Never 0, which marks a free place."""
    return (hash(key) & 0xFFFF_FFFF_FFFF_FFFF) or 1
