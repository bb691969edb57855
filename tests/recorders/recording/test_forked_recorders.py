"""Tests recorders, logs and servers in a forked child: it writes nothing again and gets errors when it tries to."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from generals_env.concurrency.process_owner import Owner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

LIMIT = 300  # seconds after which a child has hung

BEGINNING = """
import gc, multiprocessing, os, sys, threading
import generals_env
from generals_env import StateError, StorageError
from generals_env.recorders import DatasetWriter, DeduplicatingSink, ExperienceBatch, ExperienceLog, ExperienceRecorder
from generals_env.recorders import BufferedSink, MultiSink, ReplayBuffer, RetryingSink, SpillBuffer, ValidatingSink
from generals_env.recorders import open_dataset
folder = sys.argv[1]

def forked(function):
    "Run a function in a forked child, which ends as a program does, and return the exit status."
    child = os.fork()
    if child == 0:
        function()
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def recorded(sink, games=4):
    env = ExperienceRecorder(generals_env.make_vec(games, height=6, width=6, threads=2), sink)
    env.reset(seed=1)
    return env

def step(env, turns=5):
    for _ in range(turns):
        env.step(env.act(("random", "random")))
"""


def run_program(program: str, *arguments: object) -> str:
    """Run a program in its own process and return its output."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGINNING + textwrap.dedent(program)]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- Ends of the child ------------------------------------------------------------------------------------------------

RECORD = """
kind = sys.argv[2]
sinks = {
    "npz": lambda: folder,
    "games": lambda: DatasetWriter(folder, "games"),
    "log": lambda: ExperienceLog(folder, min_free_bytes=0),
    "spill": lambda: SpillBuffer(folder, 100_000),
    "several": lambda: [folder + "/files", ExperienceLog(folder + "/log", min_free_bytes=0)],
    "retried": lambda: RetryingSink(folder),
    "buffered": lambda: BufferedSink(folder),
    "checked": lambda: ValidatingSink(DeduplicatingSink(DatasetWriter(folder))),
}
sink = sinks[kind]()
env = recorded(sink)

def fails():
    raise ValueError("on purpose")

def leaves_the_block():
    with env:
        sys.exit(0)

def collects():
    global env, sink
    del env, sink
    gc.collect()

endings = [lambda: sys.exit(0), lambda: os._exit(0), leaves_the_block, lambda: env.close(), collects, fails]
step(env)
for ending in endings:
    status = forked(ending)
    assert status == (1 if ending is fails else 0), (ending, status)
    step(env)
other = multiprocessing.get_context("fork").Process(target=int)
other.start()
other.join()
assert other.exitcode == 0
step(env)
total = env.experiences
env.close()

def experiences(batches):
    return [(b.game_ids[g], int(p), int(t)) for b in batches for g, p, t in zip(b.game, b.player_id, b.turn)]

if kind == "spill":
    del env, sink
    gc.collect()
    queue = SpillBuffer(folder)
    places = [iter(lambda: queue.read(1000), None)]
else:
    places = [open_dataset(place) for place in ([folder + "/files", folder + "/log"] if kind == "several" else [folder])]
for place in places:
    found = experiences(place)
    print(len(found) == len(set(found)) == total == 8 * 8 * 5, len(found), len(set(found)), total)
"""


@pytest.mark.parametrize("kind", ["npz", "games", "log", "spill", "several", "retried", "buffered", "checked"])
def test_fork_writes_nothing_twice_however_the_child_ends(kind: str, tmp_path: Path) -> None:
    lines = run_program(RECORD, tmp_path / "records", kind).splitlines()
    assert len(lines) == (2 if kind == "several" else 1)
    assert all(line.startswith("True") for line in lines), lines


# --- Errors in the child ----------------------------------------------------------------------------------------------

REFUSED = """
import warnings
log = ExperienceLog(folder + "/log", min_free_bytes=0)
read_only = ExperienceLog(folder + "/log", mode="r")
reader, running = log.reader(), read_only.read()
files, spill, buffer = DatasetWriter(folder + "/files"), SpillBuffer(folder + "/spill"), ReplayBuffer(1000)
vector, several, retried, buffered = recorded(log), MultiSink([buffer]), RetryingSink(buffer), BufferedSink(ReplayBuffer(1000))
step(vector, 40)
vector.flush()
batch = next(iter(running))
spill.write(batch)
buffer.write(batch)
parallel = ExperienceRecorder(generals_env.parallel_env(height=6, width=6), folder + "/parallel")
parallel.reset(seed=1)
single = ExperienceRecorder(generals_env.generals_v0.env(height=6, width=6), folder + "/aec")
single.reset(seed=1)
acts = vector.act(("random", "random"))
calls = {
    "vector.step": lambda: vector.step(acts),
    "vector.play": lambda: vector.play(1, ("random", "random")),
    "vector.reset": lambda: vector.reset(),
    "vector.flush": lambda: vector.flush(),
    "parallel.step": lambda: parallel.step(dict.fromkeys(parallel.agents, 0)),
    "parallel.reset": lambda: parallel.reset(),
    "single.step": lambda: single.step(0),
    "single.flush": lambda: single.flush(),
    "log.write": lambda: log.write(batch),
    "log.flush": lambda: log.flush(),
    "log.read": lambda: next(iter(log.read())),
    "log.last": lambda: log.last,
    "log.repair": lambda: log.repair(),
    "reader.poll": lambda: reader.poll(),
    "running": lambda: next(running),
    "files.write": lambda: files.write(batch),
    "files.flush": lambda: files.flush(),
    "spill.write": lambda: spill.write(batch),
    "spill.read": lambda: spill.read(1),
    "spill.flush": lambda: spill.flush(),
    "len(spill)": lambda: len(spill),
    "buffer.write": lambda: buffer.write(batch),
    "several.write": lambda: several.write(batch),
    "several.flush": lambda: several.flush(),
    "retried.write": lambda: retried.write(batch),
    "buffered.write": lambda: buffered.write(batch),
    "buffered.flush": lambda: buffered.flush(),
    "checked.write": lambda: ValidatingSink.write(checked, batch),
    "deduplicated.write": lambda: deduplicated.write(batch),
}
checked, deduplicated = ValidatingSink(buffer), DeduplicatingSink(buffer)
closes = [several, retried, buffered, checked, deduplicated, reader, log, files, spill, vector, parallel, single]
parent, before = os.getpid(), vector.experiences

def child():
    for name, call in calls.items():
        try:
            call()
        except StateError as error:
            if f"expected process {parent}, which opened it, got process {os.getpid()}" not in str(error):
                print(name, "says", error)
        else:
            print(name, "is not refused")
    for each in closes:  # says nothing, and does nothing
        each.close()
    assert vector.experiences == before
    # What works in a child: a log opened to be read, draws from a buffer, and what it opens itself.
    assert len(next(iter(read_only.read()))) == len(buffer) == len(buffer.sample(50)) + len(buffer) - 50
    own = ExperienceLog(folder + "/own", min_free_bytes=0)
    with recorded(own) as env:
        step(env)
    assert own.last == 8 * 5 - 1
    sys.stdout.flush()

assert forked(child) == 0
# Nothing in the parent has changed: all goes on.
assert len(spill.read(1000)) == len(batch)
buffered.write(batch), buffered.close()
several.write(batch), several.close(), spill.close(), files.write(batch), files.close(), parallel.close(), single.close()
step(vector)
vector.close()
assert log.last == vector.experiences - 1 == 8 * 45 - 1
assert log.verify().ok
print("done")
"""


def test_fork_child_cannot_use_objects_of_its_parent(tmp_path: Path) -> None:
    assert run_program(REFUSED, tmp_path) == "done\n"


# --- Locks, databases, servers ----------------------------------------------------------------------------------------

LOCKED = """
import subprocess
held = [ExperienceLog(folder + "/log", min_free_bytes=0), SpillBuffer(folder + "/spill")]
other = '''
import sys
from generals_env import StorageError
from generals_env.recorders import ExperienceLog, SpillBuffer
for kind, name in ((ExperienceLog, "/log"), (SpillBuffer, "/spill")):
    try:
        kind(sys.argv[1] + name)
    except StorageError:
        print("locked")
'''
def close_and_drop():
    global held
    held[0].close()
    held = None
    gc.collect()
assert forked(close_and_drop) == 0
print(subprocess.run([sys.executable, "-c", other, folder], capture_output=True, text=True).stdout.split())
"""


def test_fork_child_does_not_release_locks(tmp_path: Path) -> None:
    assert run_program(LOCKED, tmp_path) == "['locked', 'locked']\n"


COMMITTING = """
batches = []
class Kept:
    write = staticmethod(batches.append)
    def flush(self): pass
    close = flush
with recorded(Kept()) as env:
    step(env, 16)
log = ExperienceLog(folder, "normal", min_free_bytes=0)
over = threading.Event()
def write():
    while not over.wait(0.01):
        log.write(batches[0])
threads = [threading.Thread(target=write) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(4):  # some of them in the middle of a transaction
    assert forked(lambda: None) == 0
over.set()
for thread in threads:
    thread.join()
last = log.last
log.close()
print(log.verify().ok, sum(map(len, log.read())) == last + 1 > 0)
"""


def test_fork_while_threads_write_leaves_log_whole(tmp_path: Path) -> None:
    assert run_program(COMMITTING, tmp_path) == "True True\n"


SERVED = """
from generals_env.recorders.stream.client.consumer import ExperienceConsumer
from generals_env.recorders.stream.server.server import ExperienceServer
buffer = ReplayBuffer(10_000)
env = recorded(buffer)
step(env)
env.flush()
with ExperienceServer(buffer, "127.0.0.1:0") as server, ExperienceConsumer(server.address) as consumer:
    stream = consumer.stream_experiences(batch_size=None, follow=False)
    first = sum(map(len, stream))
    def child():
        for call in (server.start, lambda: server.wait(0), consumer.stats, lambda: next(consumer.stream_experiences())):
            try:
                call()
            except StateError:
                continue
            print("is not refused")
        server.stop()
        consumer.close()
    status = forked(child)
    assert status == 0, status
    assert sum(map(len, consumer.stream_experiences(batch_size=None, follow=False))) == first  # the parent's go on
env.close()
print("done", first)
"""


def test_fork_child_leaves_server_and_consumer_to_its_parent(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    assert run_program(SERVED, tmp_path) == "done 40\n"


# --- Uses that still work in the child --------------------------------------------------------------------------------

UNRECORDED = """
with recorded(folder) as env:
    step(env, 64)
vector, single = generals_env.make_vec(64, height=6, width=6, threads=2), generals_env.parallel_env(height=6, width=6)
off = ExperienceRecorder(generals_env.parallel_env(height=6, width=6), folder + "/none", enabled=False)
buffer = ReplayBuffer(1000)
vector.reset(seed=1), single.reset(seed=1), off.reset(seed=1)
vector.play(200, ("expander", "random"))  # on two threads, of which a child has none
vector.step(vector.act(("expander", "random")))

def child(results):
    for _ in range(5):
        vector.step(vector.act(("expander", "random")))
    played = vector.play(200, ("expander", "random")).turns
    for env in (single, off):
        env.step(dict.fromkeys(env.agents, env.action_space("player_0").n - 1))
    batch = ExperienceBatch.concat(list(open_dataset(folder)))
    results.put((played, len(batch), float(batch.states().sum())))

context = multiprocessing.get_context("fork")
results = context.Queue()
processes = [context.Process(target=child, args=(results,)) for _ in range(3)]
for process in processes:
    process.start()
found = {results.get(timeout=250) for _ in processes}
for process in processes:
    process.join()
print([process.exitcode for process in processes], len(found), [one[:2] for one in found])
"""


def test_fork_child_plays_unrecorded_and_reads_files(tmp_path: Path) -> None:
    assert run_program(UNRECORDED, tmp_path) == f"[0, 0, 0] 1 [({64 * 200}, {8 * 64})]\n"


def test_fork_owner_of_copy_is_the_process_that_makes_it() -> None:
    owner = Owner()
    owner.process -= 1
    assert not owner.is_here
    assert pickle.loads(pickle.dumps(owner)).is_here
