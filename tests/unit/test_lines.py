"""Reading a log's files on the worker: every line is kept or counted, in order, and the disk gets its space back."""

import os
import sys
import time

import pytest

from hive.task import Progress
from hive.worker.attempt import Reporter
from hive.worker.logs.drain import read_lines
from hive.worker.logs.spool import Position, Spool, spools_in


def shown(pieces):
    return [piece.data or piece.left_out for piece in pieces]


def test_whole_lines_are_given_and_the_rest_waits_for_its_end(tmp_path):
    file = tmp_path / "out"
    file.write_bytes(b"one\ntwo\nthr")
    pieces, rest = read_lines(file, 0, None, 100, b"\n")
    assert (shown(pieces), rest) == ([b"one", b"two"], b"thr")
    with file.open("ab") as more:
        more.write(b"ee\n")
    pieces, rest = read_lines(file, pieces[-1].end, None, 100, b"\n")
    assert (shown(pieces), rest) == ([b"three"], b"")


def test_what_is_written_while_it_is_read_comes_the_next_time(tmp_path):
    (tmp_path / "out").write_bytes(b"one\ntwo\n")
    assert shown(read_lines(tmp_path / "out", 0, 4, 100, b"\n")[0]) == [b"one"]


@pytest.mark.parametrize("count", [11, 1000, 400_000])
def test_of_too_many_lines_the_first_and_last_are_kept_and_the_others_counted(tmp_path, count):
    file = tmp_path / "out"
    file.write_bytes(b"".join(b"line %d\n" % number for number in range(count)) + b"rest")
    pieces, rest = read_lines(file, 0, None, 10, b"\n")
    first, last = [b"line %d" % n for n in range(5)], [b"line %d" % n for n in range(count - 5, count)]
    assert shown(pieces) == [*first, count - 10, *last]
    assert (pieces[-1].end, rest) == (file.stat().st_size - 4, b"rest")


def test_a_line_of_many_megabytes_counts_as_one_that_is_left_out(tmp_path):
    (tmp_path / "out").write_bytes(b"a\n" + b"x" * 5_000_000 + b"\nb\n")
    assert shown(read_lines(tmp_path / "out", 0, None, 100, b"\n")[0]) == [b"a", 1, b"b"]


def test_of_records_only_those_with_text_are_counted(tmp_path):
    spool = Spool(tmp_path, "one.1")
    with spool.open() as writer:
        for number in range(100):
            writer.record(number, "INFO", 'a "quoted"]\ntext')
            writer.progress(Progress(number, 100, "", ""))
            writer.mark()
    [*_, left_out] = (piece.left_out for piece in read_lines(spool.records, 0, None, 2, b'"]\n')[0][:2])
    assert left_out == 99


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives space back in the midst of a file")
def test_what_was_sent_takes_no_more_space_and_reads_as_nothing(tmp_path):
    spool = Spool(tmp_path, "one.1")
    with spool.open() as writer:
        os.write(writer.out, b"x" * 4_000_000 + b"\nend\n")
        spool.free(Position(4_000_001, 0, 0))
    assert spool.out.stat().st_blocks * 512 < 1_000_000
    assert shown(read_lines(spool.out, 4_000_001 - 100, None, 100, b"\n")[0]) == [b"end"]
    assert spools_in(tmp_path) == ["one.1"]
    spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_progress_is_written_down_a_few_times_a_second_and_the_last_one_always(tmp_path):
    spool = Spool(tmp_path, "one.1")
    with spool.open() as writer:
        report, begin = Reporter(writer), time.monotonic()
        for number in range(10_000):
            report(Progress(number, 10_000, "points", ""))
        report.flush()
        took_s = time.monotonic() - begin
    written = spool.records.read_text().splitlines()
    assert len(written) <= took_s / 0.2 + 2
    assert '"done":9999' in written[-1]
