"""What every driver must do alike: logs, from anywhere in them, as they grow, and over new runs."""

from msgspec.structs import replace

from dplaunch.model.plan import LogFile
from dplaunch.model.remote import (
    LinesRead,
    LogQuery,
    LogRestarted,
    LogSource,
    ProcessExited,
    StreamEnded,
)

SERVE = ("n1", "serve-0")
OUTPUT = [LogSource("serve-0")]


def written(world, opened, heard, *lines: str, **fields):
    """One process that has written these lines, and its launcher."""
    plan, driver = opened(replace(world.a_process("serve-0", "n1", endpoints=()), **fields))
    driver.start(plan, [SERVE], {})
    world.say(SERVE, *lines)
    seen = heard(driver)
    driver.follow("n1", OUTPUT, LogQuery(tail=None, follow=True))
    seen.until(lambda _: text(seen) == list(lines))
    return plan, driver, seen


def text(seen):
    return [line for one in seen.of(LinesRead) for line in one.lines]


def fetched(driver, heard, sources=OUTPUT, **query):
    """What a stream holds that ends by itself."""
    seen = heard(driver)
    stream = driver.follow("n1", sources, LogQuery(**query))
    seen.until(lambda _: stream in [one.stream for one in seen.of(StreamEnded)])
    return [one for one in seen.of(LinesRead) if one.stream == stream]


def lines_of(reads):
    return [line for one in reads for line in one.lines]


def test_a_log_is_read_whole_by_its_end_or_by_what_matches(world, opened, heard):
    _, driver, _ = written(world, opened, heard, "one", "two", "three", "four")
    assert lines_of(fetched(driver, heard, tail=None)) == ["one", "two", "three", "four"]
    assert lines_of(fetched(driver, heard, tail=2)) == ["three", "four"]
    assert lines_of(fetched(driver, heard, tail=None, grep="^t")) == ["two", "three"]


def test_offsets_are_bytes_and_a_log_resumes_from_them(world, opened, heard):
    _, driver, _ = written(world, opened, heard, "one", "zwölf", "three")
    reads = fetched(driver, heard, tail=None)
    assert (reads[0].offset, reads[-1].end) == (0, len("one\nzwölf\nthree\n".encode()))
    resumed = fetched(driver, heard, [LogSource("serve-0", offset=4)], tail=1)
    assert (resumed[0].offset, lines_of(resumed)) == (4, ["zwölf", "three"])
    assert fetched(driver, heard, [LogSource("serve-0", offset=reads[-1].end)], tail=None) == []


def test_a_log_is_followed_as_it_grows_and_over_a_link_that_broke(world, opened, heard):
    plan, _, seen = written(world, opened, heard, "one")
    world.say(SERVE, "two")
    seen.until(lambda _: text(seen) == ["one", "two"])
    offset = seen.of(LinesRead)[-1].end
    other = world.launcher(plan)
    other.open()
    world.say(SERVE, "three")
    resumed = heard(other)
    other.follow("n1", [LogSource("serve-0", offset=offset)], LogQuery(follow=True))
    resumed.until(lambda _: text(resumed) == ["three"])
    world.say(SERVE, "four")
    resumed.until(lambda _: text(resumed) == ["three", "four"])


def test_a_stream_that_is_cancelled_ends_and_the_process_goes_on(world, opened, heard):
    _, driver, seen = written(world, opened, heard, "one")
    stream = seen.of(LinesRead)[0].stream
    driver.cancel(stream)
    seen.until(lambda _: stream in [one.stream for one in seen.of(StreamEnded)])
    assert driver.observe().processes[0].runs


def test_a_new_run_begins_a_new_log_and_the_old_one_is_kept(world, opened, heard):
    plan, driver, seen = written(world, opened, heard, "the first run")
    other = world.launcher(plan)  # what comes while a call waits may be lost: only who listens hears all
    other.open()
    other.stop([SERVE], 5.0, lambda _: None, patient=True)
    other.start(plan, [SERVE], {})
    world.say(SERVE, "the second run")
    seen.until(lambda _: text(seen) == ["the first run", "the second run"])
    kinds = [type(one) for one in seen.signals if isinstance(one, (LinesRead, LogRestarted))]
    assert kinds == [LinesRead, LogRestarted, LinesRead]
    assert seen.of(LinesRead)[-1].offset == 0
    assert lines_of(fetched(driver, heard, tail=None)) == ["the second run"]
    assert lines_of(fetched(driver, heard, tail=None, previous=True)) == ["the first run"]


def test_a_service_that_its_guard_starts_again_continues_in_its_log(world, opened, heard):
    router = replace(world.a_process("router", "n1", endpoints=()), restarts=True)
    plan, driver = opened(router)
    driver.start(plan, [router.place], {})
    world.say(router.place, "first")
    seen = heard(driver)
    driver.follow("n1", [LogSource("router")], LogQuery(tail=None, follow=True))
    driver.watch("n1", plan.processes, [], {})
    seen.until(lambda _: text(seen) == ["first"])
    world.end(router.place, 1)
    seen.until(lambda _: seen.of(ProcessExited))
    world.say(router.place, "second")
    seen.until(lambda _: text(seen)[-1] == "second")
    assert seen.of(LogRestarted) == []


def test_files_that_a_process_writes_itself_are_logs_of_their_own(world, opened, heard):
    _, driver, _ = written(world, opened, heard, "out", logs=(LogFile("worker", "worker.log"),))
    world.write(SERVE, "worker", "in a file")
    sources = [LogSource("serve-0", "worker")]
    seen = heard(driver)
    driver.follow("n1", [*OUTPUT, *sources], LogQuery(tail=None, follow=True))
    seen.until(lambda _: len(text(seen)) == 2)
    assert {(one.process, one.file, one.lines) for one in seen.of(LinesRead)} == {
        ("serve-0", "", ("out",)),
        ("serve-0", "worker", ("in a file",)),
    }


def test_the_log_of_what_was_never_started_is_empty(world, opened, heard):
    _, driver = opened(world.a_process("serve-0", "n1"))
    assert fetched(driver, heard, tail=None) == []
