"""metrics.csv: everything a run logs, one value per line, so that new names never change the header.

The columns are ``step,epoch,name,value``. Lines are only ever appended; a crash can tear the last one, which
the next writer cuts off and readers ignore.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.runs.write import disk_error, write_bytes

COLUMNS = ("step", "epoch", "name", "value")


class MetricsLog:
    """Append values to metrics.csv.

    Args:
        path: The file; it is made with its header where missing, and a torn last line is cut off.

    Raises:
        SegfocalError: Where the file cannot be written, or is no such log.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._resumed_at = -1
        if not self.path.is_file() or self.path.stat().st_size == 0:
            write_bytes(self.path, _lines([COLUMNS]))
            return
        data = self.path.read_bytes()
        whole = whole_lines(data)
        _check_header(self.path, whole)
        if len(whole) < len(data):
            write_bytes(self.path, whole)

    def append(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Add one line per value, all of them or none.

        Args:
            values: Name to number; NaN and infinities are kept.
            step: Optimizer steps taken so far.
            epoch: Epochs finished so far.

        Raises:
            SegfocalError: Where the disk is full or read-only; the file is as before then.
        """
        if step <= self._resumed_at:
            self.replace(values, step=step, epoch=epoch)
            return
        lines = _lines(_rows(values, step=step, epoch=epoch))
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
            try:
                _append_whole(handle, lines)
            finally:
                os.close(handle)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def replace(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Add one line per value, in place of those of the same name and step; arguments as ``append``."""
        others = [row for row in self._read() if row[0] != str(step) or row[2] not in values]
        write_bytes(self.path, _lines([COLUMNS, *others, *_rows(values, step=step, epoch=epoch)]))

    def cut(self, *, after_step: int) -> None:
        """Drop every line of a later step: a resumed run logs those again.

        Args:
            after_step: The step of the checkpoint that training goes on from; its own lines stay until one of
                the same name comes again, such as those of a validation that is repeated.
        """
        self._resumed_at = after_step
        rows = self._read()
        kept = [row for row in rows if int(row[0]) <= after_step]
        if len(kept) < len(rows):
            write_bytes(self.path, _lines([COLUMNS, *kept]))

    def _read(self) -> list[list[str]]:
        data = whole_lines(self.path.read_bytes())
        return list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))[1:]


def whole_lines(data: bytes) -> bytes:
    r"""Return the bytes up to the last newline, which leaves out a torn last line.

    Args:
        data: A log as it lies on the disk.

    Returns:
        Its complete lines.

    Example:
        >>> whole_lines(b"step,name\n1,loss\n2,lo")
        b'step,name\n1,loss\n'
    """
    return data[: data.rfind(b"\n") + 1]


def _rows(values: Mapping[str, float], *, step: int, epoch: int) -> list[tuple[object, ...]]:
    return [(step, epoch, name, repr(float(value))) for name, value in values.items()]


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    for row in rows:
        if any("\n" in str(cell) or "\r" in str(cell) for cell in row):
            raise SegfocalError(f"a name in metrics.csv must fit on one line, got {row[2]!r}.")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def _append_whole(handle: int, lines: bytes) -> None:
    """Take back what a full disk left half-written."""
    size = os.fstat(handle).st_size
    try:
        written = 0
        while written < len(lines):
            written += os.write(handle, lines[written:])
    except OSError:
        os.ftruncate(handle, size)
        raise


def _check_header(path: Path, data: bytes) -> None:
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    if header != ",".join(COLUMNS):
        raise SegfocalError(
            f"{path} must start with {','.join(COLUMNS)!r}, got {header[:60]!r}: another program wrote it. "
            "Move it away, or choose another folder with --run."
        )
