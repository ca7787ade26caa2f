"""Tests of `spec_kitty_client.transports.warm`, with real processes and a made-up host."""

import gc
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from spec_kitty_client.errors import CannotBeWarm, HostNotFound, InvalidCall
from spec_kitty_client.transports import Completed, call_environment
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport, connection
from tests.client.transports.scripts import (
    PATIENCE,
    alive,
    ended_at_last,
    eventually,
    gone,
    interrupted,
    pids,
    script,
    started,
    written,
)
from tests.client.transports.warm.warmhost import FORMS, Caller, MadeUp, install

Calls = Callable[..., Caller]
BACKENDS = ["sync", "asyncio", "trio"]


@pytest.fixture(autouse=True, scope="module")
def _usual() -> Iterator[None]:
    """Remove the variables that change how Python runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("PYTHON", "MALLOC"))]:
            patch.delenv(name)
        yield


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Call blocking, and on both event loops."""
    return str(request.param)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Make the folder in which the host runs."""
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


@pytest.fixture
def calls(tmp_path: Path, repo: Path) -> Iterator[Calls]:
    """Return a function that installs a host and returns its caller, closed after the test."""
    with ExitStack() as stack:

        def caller(
            backend: str = "sync", form: str = "script", *, host: MadeUp | None = None, **given: Any
        ) -> Caller:
            at = {name: given.pop(name) for name in ("at_import", "at_start") if name in given}
            made = host or install(tmp_path / "host", form, **at)
            new = Caller(made, given.pop("repo", repo), backend, **given)
            stack.callback(new.warm.close)
            return new

        yield caller


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shorten the server's grace period and its limit for an import."""
    texts = tmp_path / "impatient"
    texts.mkdir()
    for name in connection._TEXTS:
        shutil.copy(connection._FOLDER / name, texts)
    for name, old, new in (
        ("call.py", "\nGRACE = 4.0 ", "\nGRACE = 0.3 "),
        ("forkserver.py", "\nLONGEST_IMPORT = 120 ", "\nLONGEST_IMPORT = 5 "),
    ):
        source = (texts / name).read_text()
        assert old in source
        (texts / name).write_text(source.replace(old, new))
    monkeypatch.setattr(connection, "_FOLDER", texts)
    return texts


# Answers.


def plain(text: bytes) -> bytes:
    """Replace memory addresses and thread ids."""
    return re.sub(rb"0x[0-9a-f]+|started \d+", b"...", text)


def outcome(run: Callable[..., Completed], folder: Path, code: str) -> tuple[object, ...]:
    """Return the answer of a call, and the files that it has left in its folder."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    done = run(code, "two\nlines", "", "naïve 漢字 \U0001f408", "\udce9", "--", "*")
    files = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    return *answer(done), files


def answer(done: Completed) -> tuple[object, ...]:
    """Return the answer of a call, without memory addresses."""
    return done.argv, done.exit_code, plain(done.stdout), plain(done.stderr)


def descriptors() -> set[str]:
    """Return the open file descriptors of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def servers() -> set[int]:
    """Return the process ids of all descendants of this process."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


SAME = {
    # The state of a process.
    "arguments": "import sys; print(ascii(sys.argv))",
    "path": "import sys; print(sys.path)",
    "folder": "import os; print(os.getcwd())",
    "environment": """
        import os
        by_a_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
        print(sorted((k, v) for k, v in os.environ.items() if k not in by_a_shell))
        print(sorted(k for k in os.environb if k.decode() not in by_a_shell))
    """,
    "umask": "import os; print(oct(os.umask(0)))",
    "limits": """
        import os, resource as r
        print([r.getrlimit(getattr(r, x)) for x in dir(r) if x.startswith("RLIMIT_")], os.nice(0))
    """,
    "group": "import os; print(os.getpgid(0) == os.getpid() != os.getppid()); os.setsid()",
    "terminal": "open('/dev/tty')",
    "input": "import sys; print(repr(sys.stdin.read()), sys.stdin); input()",
    "writing to the input": "import os; os.write(0, b'x')",
    "outputs": """
        import fcntl, os, stat, sys
        print(os.readlink("/proc/self/fd/0"))
        for fd in range(3):
            about = os.fstat(fd)
            print(stat.filemode(about.st_mode), about.st_nlink, os.get_inheritable(fd))
            print(os.isatty(fd), fd and os.lseek(fd, 0, 1), fd and fcntl.fcntl(fd, fcntl.F_GETFL))
        for s in (sys.stdin, sys.stdout, sys.stderr):
            print(s.name, s.mode, s.encoding, s.errors, s.newlines, s.line_buffering, s.fileno())
            print(s.write_through, s is getattr(sys, "__" + s.name[1:-1] + "__"))
    """,
    "signals": """
        import re, signal
        print({s: str(signal.getsignal(s)) for s in signal.valid_signals()})
        print(re.findall(r"(?:Sig|Shd)(?:Pnd|Blk|Ign|Cgt):.*", open("/proc/self/status").read()))
        print(signal.getitimer(signal.ITIMER_REAL), signal.set_wakeup_fd(-1))
    """,
    "interpreter": """
        import gc, locale, logging, sys, threading, time, warnings
        print(sys.flags, sys.executable, sys.prefix, sys.warnoptions, sys._xoptions, time.tzname)
        print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile())
        print(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.get_debug())
        print(threading.enumerate(), threading.current_thread() is threading.main_thread())
        print(sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook)
        print(sys.meta_path, sys.path_hooks, sys.dont_write_bytecode, sys.pycache_prefix)
        print(warnings.filters, warnings.showwarning, logging.root.handlers, logging.root.level)
        print(locale.setlocale(locale.LC_ALL), locale.getencoding(), sys.getfilesystemencoding())
    """,
    "main module": """
        import builtins, sys
        main = sys.modules["__main__"]
        print(main.__name__, main.__file__, main.__package__, main.__doc__, main.__spec__)
        print(main.__cached__, main.__builtins__ is builtins, type(main.__loader__))
        print(sorted(vars(main).keys() - {"__annotations__"}))
    """,
    "its package": """
        import importlib.metadata, importlib.resources, madeup.cli
        print(madeup.__file__, madeup.__path__, madeup.__spec__, madeup.cli.__spec__)
        print([f.name for f in importlib.resources.files("madeup").iterdir() if f.suffix == ".py"])
        print(importlib.metadata.version("madeup"))
    """,
    # Its end.
    "nothing": "",
    "code 0": "exit(0)",
    "code 3": "import sys; print('x'); sys.exit(3)",
    "code 256": "raise SystemExit(256)",
    "code -1": "raise SystemExit(-1)",
    "code None": "raise SystemExit(None)",
    "code True": "raise SystemExit(True)",
    "code 2.5": "raise SystemExit(2.5)",
    "text": "import sys; print('x'); sys.exit('bad: \u6f22 \\udce9')",
    "several words": "raise SystemExit('a', 3)",
    "exit of its own": """
        class Exit(SystemExit):
            def __init__(self): self.code = 4
        raise Exit
    """,
    "exception": "print('x'); raise ValueError('no\\nvalue')",
    "chained exceptions": """
        try:
            {}["a"]
        except KeyError as e:
            raise RuntimeError("b") from e
    """,
    "group of exceptions": """
        raise ExceptionGroup('', [ValueError(1), ExceptionGroup('', [OSError()])])
    """,
    "other exception": "raise GeneratorExit",
    "syntax error": "1 +",
    "missing module": "import this_is_none",
    "exception hook": """
        import sys
        sys.excepthook = lambda *x: print("hooked", x[:2])
        raise ValueError(1)
    """,
    "exception hook that exits": """
        import sys
        sys.excepthook = lambda *x: sys.exit(7)
        raise ValueError(1)
    """,
    "interrupt": "print('x'); raise KeyboardInterrupt('stop')",
    "interrupt and what is left": """
        import atexit, threading
        go = threading.Event()
        threading.Thread(target=lambda: (go.wait(), print("thread", flush=True))).start()
        atexit.register(print, "at the end", flush=True)
        threading._register_atexit(go.set)
        raise KeyboardInterrupt
    """,
    "signal for interrupt": "import os, signal; print('x'); os.kill(os.getpid(), signal.SIGINT)",
    "at once": "import os, sys; print('lost'); print('kept', file=sys.stderr); os._exit(5)",
    "killed": "import os, signal; print('lost'); os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
    "terminated with a handler": """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    """,
    "another program": """
        import os
        print("lost"); os.execlp("sh", "sh", "-c", "echo other; exit 3")
    """,
    # Its output.
    "megabytes": """
        import sys
        sys.stdout.write("o" * 3_000_000 + "\\n")
        sys.stderr.write("e" * 2_000_000 + "\\n")
    """,
    "bytes": """
        import sys
        sys.stdout.buffer.write(b"\\xff\\0\\r\\n")
        sys.stderr.buffer.write(b"caf\\xe9")
    """,
    "surrogates": "print('\\udce9'); print('\\ud800')",
    "by turns": """
        import os, sys
        for n in range(3):
            print(n); print(n, file=sys.stderr); os.system(f"echo {n}; echo {n} >&2")
    """,
    "descriptors": "import os; os.write(1, b'a'); print('b'); os.write(2, b'c')",
    "closed outputs": "import sys; print('x'); sys.stdout.close(); sys.stderr.close()",
    "no outputs": "import sys; print('x', flush=True); sys.stdout = sys.stderr = None",
    "wrapped output": """
        import io, sys
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), "latin-1", newline="\\r\\n")
        print("caf\\xe9")
    """,
    "truncated output": """
        import os
        print("lost", flush=True); os.ftruncate(1, 0); os.lseek(1, 0, 0); print("x")
    """,
    "warnings": "import warnings; warnings.warn('old', DeprecationWarning); warnings.warn('odd')",
    "logs": """
        import logging
        logging.warning("one"); logging.getLogger("a.b").error("two")
        try: 1 / 0
        except ZeroDivisionError: logging.exception("three")
    """,
    "seeded": "import random; random.seed(3); print(random.random())",
    # Files, threads and processes of its own.
    "open files": """
        import io, madeup
        madeup.text = open("text", "w"); madeup.text.write("text")
        madeup.bytes = open("bytes", "wb"); madeup.bytes.write(b"bytes")
        madeup.both = io.TextIOWrapper(io.BufferedWriter(io.FileIO("both", "w")))
        madeup.both.write("both")
    """,
    "others in the place of all open files": """
        import madeup, os
        os.closerange(3, 256)
        madeup.left = [open(f"{n:03}", "w") for n in range(150)]
    """,
    "open file of a generator": """
        import madeup
        def lines():
            with open("text", "w") as file:
                file.write("text"); yield 1
        madeup.left = lines(); next(madeup.left)
    """,
    "temporary folder": "import madeup, tempfile as t; madeup.left = t.TemporaryDirectory(dir='.')",
    "finalizer": "import madeup, weakref; weakref.finalize(madeup, print, 'finalized')",
    "things to do at exit": """
        import atexit
        atexit.register(lambda: open("end", "w").write("end"))
        atexit.register(print, "second"); atexit.register(print, "first")
        print("end")
    """,
    "bad things to do at exit": """
        import atexit, sys
        atexit.register(print, "after"); atexit.register(lambda: 1 / 0)
        sys.exit(2)
    """,
    "thread": """
        import threading
        go = threading.Event()
        def late(): go.wait(); print("late")
        threading.Thread(target=late).start(); threading._register_atexit(go.set)
        print("end")
    """,
    "thread that ends badly": """
        import threading
        threading.Thread(target=lambda: 1 / 0, name="bad").start()
    """,
    "daemon": """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print("end")
    """,
    "pool": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        for n in range(4): pool.submit(lambda n=n: open(f"{n}", "w").write("x"))
    """,
    "event loop": """
        import asyncio
        async def work():
            made = await asyncio.create_subprocess_exec("echo", "hello", stdout=-1)
            print(await made.communicate(), await asyncio.to_thread(int, "3"))
        asyncio.run(work())
    """,
    "processes": """
        import multiprocessing, subprocess
        print(subprocess.check_output(["echo", "hello"]))
        context = multiprocessing.get_context("fork"); queue = context.SimpleQueue()
        other = context.Process(target=queue.put, args=(3,)); other.start(); other.join()
        print(queue.get(), other.exitcode)
    """,
    "fork": """
        import os, sys
        if not (pid := os.fork()):
            print("child"); sys.exit(3)
        print(os.waitpid(pid, 0)[1])
    """,
    "folder and environment": """
        import os, subprocess
        os.mkdir("inner"); os.chdir("inner"); os.environ["SET"] = "1"
        subprocess.run("pwd; echo $SET; umask", shell=True)
    """,
    "late import": "import colorsys, json.tool, xml.dom.minidom; print(colorsys.__file__)",
    "counter": "open('count', 'a').write('x')",
    "temporary folder of its own": """
        import os, tempfile
        os.environ["TMPDIR"] = os.getcwd()
        print(tempfile.gettempdir())
    """,
}
# Only these depend on how a host is called.
SHORT = ("arguments", "path", "environment", "interpreter", "main module", "exception", "interrupt")
EACH = [(form, what) for form in FORMS for what in (SAME if form == "script" else SHORT)]


@pytest.fixture(scope="module")
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """Install a host for many tests."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "repo").mkdir()
    caller = Caller(install(folder, request.param), folder / "repo")
    yield caller
    caller.warm.close()


@pytest.mark.parametrize(("installed", "what"), EACH, indirect=["installed"])
def test_a_call_is_the_same(installed: Caller, what: str) -> None:
    """A warm call has the same answer and leaves the same files as a cold one."""
    assert isinstance(installed.repo, Path)
    cold = outcome(installed.do_cold, installed.repo, SAME[what])

    assert outcome(installed.do, installed.repo, SAME[what]) == cold


@pytest.mark.parametrize("installed", ["script"], indirect=True)
def test_a_call_that_cannot_write_its_answer_fails(installed: Caller) -> None:
    """A call that cannot write its answer has exit code 120, warm and cold."""
    code = "import os; print('lost'); os.close(1)"

    assert installed.do(code).exit_code == installed.do_cold(code).exit_code == 120


@pytest.mark.parametrize("what", ["arguments", "folder", "exception", "killed", "bytes"])
def test_a_call_is_the_same_in_every_way(calls: Calls, backend: str, what: str, repo: Path) -> None:
    """Sync and async transports answer a warm call as a cold one."""
    caller = calls(backend)
    cold = outcome(caller.do_cold, repo, SAME[what])

    assert outcome(caller.do, repo, SAME[what]) == cold


def test_a_call_is_made_by_a_server(calls: Calls, backend: str) -> None:
    """All warm calls are children of one server process."""
    caller = calls(backend)
    parents = {caller.server() for _ in range(3)}

    assert len(parents) == 1
    assert os.getpid() not in parents
    assert caller.warm.why_cold is None


def test_the_time_limit_is_told(calls: Calls, backend: str) -> None:
    """A warm call returns the time limit that it was given."""
    assert calls(backend).do("", time_limit=20.5).time_limit == 20.5


def test_the_end_of_an_output_without_end_is_kept(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too much output the SDK keeps the end, because the answer is there."""
    monkeypatch.setattr(connection, "LARGEST", 10)

    assert calls().do("print('0123456789\\nthe end')").stdout == b"9\nthe end\n"


def test_git_is_run_by_the_transport_that_was_given(calls: Calls, backend: str) -> None:
    """A warm transport runs git, and has the identity of the transport that it wraps."""
    caller = calls(backend)
    git = partial(caller.warm.git, ["--version"], time_limit=PATIENCE)
    done = git() if backend == "sync" else anyio.run(git, backend=backend)

    assert done.stdout.startswith(b"git version")
    assert caller.warm.identity() == caller.cold.identity() is not None


def test_it_can_be_started_before_the_first_call(calls: Calls, repo: Path) -> None:
    """`prepare` imports the host before the first call, which does not import it again."""
    caller = calls(at_import="import os; open('imported', 'a').write(f'{os.getppid()}\\n')")
    caller.warm.prepare()

    assert eventually(lambda: written(repo / "imported"))
    assert (repo / "imported").read_text() == f"{os.getpid()}\n"
    assert caller.do("").exit_code == 0
    assert (repo / "imported").read_text() == f"{os.getpid()}\n"


def test_to_prepare_a_host_that_is_none_is_no_error(repo: Path, tmp_path: Path) -> None:
    """`prepare` raises nothing for a missing host, a missing folder or a host that is no Python."""
    WarmTransport(ProcessTransport(repo=repo, executable="/none/kitty")).prepare()
    WarmTransport(ProcessTransport(repo=tmp_path / "none"), only=True).prepare()
    program = str(script(tmp_path / "kitty", "true"))
    transport = WarmTransport(ProcessTransport(repo=repo, executable=program), only=True)
    transport.prepare()

    assert transport.why_cold


# Isolation of calls.

LEFT = {
    "environment": ("os.environ['LEFT'] = '1'", "dict(os.environ)"),
    "folder": ("os.chdir('/')", "os.getcwd()"),
    "umask": ("os.umask(0o77)", "os.umask(0)"),
    "path": ("sys.path.insert(0, '/left')", "sys.path"),
    "modules": ("sys.modules['left'] = os", "'left' in sys.modules"),
    "attributes": ("import madeup.commands as c; c.left = 1", "sys.modules['madeup.commands']"),
    "parser": ("import madeup.commands as c; c.app.command(print)", "TREE()"),
    "names for all": ("import builtins; builtins.left = 1", "hasattr(__builtins__, 'left')"),
    "log handlers": ("import logging; logging.basicConfig()", "LOGGING.root.handlers"),
    "filters": ("import warnings; warnings.simplefilter('error')", "WARNINGS.filters"),
    "signals": ("import signal as s; s.signal(15, s.SIG_IGN)", "SIGNAL.getsignal(15)"),
    "alarm": ("import signal as s; s.alarm(1)", "SIGNAL.alarm(0)"),
    "at exit": ("import atexit; atexit.register(print, 'left')", "1"),
    "hooks": ("sys.excepthook = print", "sys.excepthook"),
    "descriptors": ("os.dup2(1, 77)", "sorted(os.listdir('/proc/self/fd'))"),
    "outputs": ("sys.stdout = open(1, 'wb')", "sys.stdout"),
    "input": ("os.close(0)", "os.readlink('/proc/self/fd/0')"),
    "locale": ("import locale; locale.setlocale(0, 'C')", "__import__('locale').setlocale(0)"),
    "priority": ("os.nice(1)", "os.nice(0)"),
    "limits": ("import resource as r; r.setrlimit(7, (99, 99))", "RESOURCE.getrlimit(7)"),
    "collector": ("import gc; gc.disable(); gc.set_threshold(1)", "GC.get_threshold()"),
    "text that is not flushed": ("sys.stdout.write('left'); os._exit(0)", "1"),
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Install one host for many tests, which leave it as it was."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "repo").mkdir()
    caller = Caller(install(folder), folder / "repo")
    yield caller
    caller.warm.close()


@pytest.mark.parametrize("what", LEFT)
def test_nothing_is_left_to_the_next_call(one: Caller, what: str) -> None:
    """A change that a call makes to its process does not reach the next call."""
    changes, tells = LEFT[what]
    tells = re.sub(r"([A-Z]{2,})\.", lambda m: f"__import__('{m[1].lower()}').", tells)
    tells = tells.replace("TREE()", "sys.modules['madeup.commands'].app.registered_commands")
    tell = f"import os, sys; print({tells})"
    server, before = one.server(), one.do(tell)
    one.do(f"import os, sys; {changes}")

    assert one.do(tell) == before
    assert (before.exit_code, before.stderr) == (0, b"")
    assert one.server() == server


@pytest.mark.parametrize(
    "what",
    [
        "random.random()",
        "uuid.uuid4()",
        "secrets.token_hex()",
        "tempfile.mktemp()",
        "os.urandom(8)",
        "os.getpid()",
    ],
)
def test_chance_is_different_in_every_call(one: Caller, what: str) -> None:
    """Random values and process ids are different in every call."""
    code = f"import os, random, secrets, tempfile, uuid; print({what})"
    one.do(code)  # imports the modules for the first time

    assert len({one.do(code).stdout for _ in range(4)}) == 4


# Descriptors.

OPEN = """
    import os
    print(sorted(int(fd) for fd in os.listdir("/proc/self/fd")))
    os.system("ls /proc/self/fd")
"""
WAITS = """
    import os, time
    with open(words[0], "w") as file: file.write(str(os.getppid()))
    while not os.path.exists(words[1]): time.sleep(0.01)
"""


def test_a_call_has_its_input_its_outputs_and_nothing_of_other_calls(
    calls: Calls, repo: Path
) -> None:
    """A call inherits no descriptor of the server, of the client or of other calls."""
    caller = calls()
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(caller.do, WAITS, f"{n}", "go") for n in range(4)]
        assert eventually(lambda: len(list(repo.iterdir())) == 4)
        found = caller.ask(
            "[os.readlink(f'/proc/self/fd/{n}') for n in range(20) if IS(n)]".replace(
                "IS(n)", "os.path.lexists(f'/proc/self/fd/{n}')"
            )
        )
        started_by_it = caller.do("import os; os.system('ls /proc/self/fd')").stdout
        (repo / "go").touch()

    assert {o.result().exit_code for o in others} == {0}
    assert found[0] == os.devnull
    assert len(found) == 3, found
    assert all("(deleted)" in name for name in found[1:])
    assert started_by_it.split() == [b"0", b"1", b"2", b"3"]  # with the folder it looks at


# Many calls at once.


def test_calls_that_end_at_once_are_all_told(calls: Calls, repo: Path) -> None:
    """Two calls that end at the same time both get their answer within the time limit."""
    caller = calls()
    with ThreadPoolExecutor() as pool:
        silent = pool.submit(caller.do, f"{dedent(WAITS)}", "0", "go", time_limit=2)
        assert eventually((repo / "0").exists)
        other = pool.submit(caller.do, f"{dedent(WAITS)}print(1)", "1", "go", time_limit=2)
        assert eventually((repo / "1").exists)
        server = psutil.Process(caller.server())
        both = server.children()
        server.suspend()
        (repo / "go").touch()
        ended = eventually(lambda: all(p.status() == psutil.STATUS_ZOMBIE for p in both))
        server.resume()

    assert ended
    assert (silent.result().exit_code, other.result().exit_code) == (0, 0)


TOGETHER = """
    import os, time
    open(f"{os.getpid()}.here", "w").close()
    while len([n for n in os.listdir() if n.endswith(".here")]) < int(words[0]): time.sleep(0.01)
    print(words[1] * 300_000)
"""


def test_calls_run_at_once(calls: Calls, repo: Path) -> None:
    """Eight calls that wait for one another end, each with its own output."""
    caller = calls()
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda letter: caller.do(TOGETHER, "8", letter), "abcdefgh"))

    assert [d.exit_code for d in done] == [0] * 8
    assert [d.stdout for d in done] == [x.encode() * 300_000 + b"\n" for x in "abcdefgh"]


@pytest.mark.anyio
async def test_calls_run_at_once_in_tasks(calls: Calls, repo: Path, anyio_backend: str) -> None:
    """45 calls run at once, more than an event loop has worker threads."""
    number = 45  # anyio has 40 threads
    transport = calls(anyio_backend).warm
    ended: list[int | None] = []

    async def call() -> None:
        args = ["do", dedent(TOGETHER), f"{number}", "x"]
        ended.append((await transport.run(args, time_limit=PATIENCE)).exit_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(call)

    assert ended == [0] * number


# Calls that are ended.

HANGS = """
    import os, signal, subprocess
    {on_term}
    os.chdir(words[0])
    trap = 'trap "" TERM; echo $$ > child.pid; while :; do sleep 0.1; done'
    child = subprocess.Popen(["sh", "-c", trap])
    print("begun", flush=True)
    with open("host.pid", "w") as file: file.write(str(os.getpid()))
    while True: signal.pause()
"""
STUBBORN = "signal.signal(signal.SIGTERM, lambda *_: open('asked', 'w').write('x'))"
TIDY = "signal.signal(signal.SIGTERM, lambda *_: (print('tidy', flush=True), os._exit(0)))"


def hangs(on_term: str = "") -> str:
    """Return a program that never ends, with a child that holds stdout and ignores SIGTERM."""
    return HANGS.replace("{on_term}", on_term)


def late(caller: Caller, folder: Path, code: str) -> Completed:
    """Run a hanging call into its time limit, and a longer one on a slow machine."""
    for time_limit in (0.4, 2.0, 10.0):
        done = caller.do(code, str(folder), time_limit=time_limit)
        if started(folder):
            return done
    pytest.fail("the program did not start")


def test_the_time_limit_ends_a_call_with_its_children(
    calls: Calls, backend: str, repo: Path
) -> None:
    """The time limit ends a call with its children, and the server goes on."""
    caller = calls(backend)
    server = caller.server()
    with ended_at_last(repo):
        done = late(caller, repo, hangs())

        assert (done.exit_code, done.stdout) == (None, b"begun\n")
        assert all(map(gone, pids(repo)))
        assert caller.server() == server


@pytest.mark.usefixtures("impatient")
def test_a_call_that_ignores_the_request_is_ended(calls: Calls, backend: str, repo: Path) -> None:
    """The server sends SIGTERM first, and kills a call that ignores it."""
    caller = calls(backend)
    server = caller.server()
    with ended_at_last(repo):
        done = late(caller, repo, hangs(STUBBORN))

        assert done.exit_code is None
        assert written(repo / "asked")
        assert all(map(gone, pids(repo)))
        assert caller.server() == server


def test_a_call_may_tidy_up_in_its_last_moment(calls: Calls, backend: str, repo: Path) -> None:
    """A call may clean up on SIGTERM, but counts as timed out."""
    caller = calls(backend)
    caller.warm.prepare()
    with ended_at_last(repo):
        done = late(caller, repo, hangs(TIDY))

        assert (done.exit_code, done.stdout) == (None, b"begun\ntidy\n")


def test_the_time_limit_holds_while_the_host_is_imported(
    calls: Calls, backend: str, repo: Path
) -> None:
    """A host that hangs at its import delays neither the time limit nor `close`."""
    caller = calls(backend, at_import="import time; time.sleep(600)")
    began, before = time.monotonic(), servers()
    done = caller.do("", time_limit=0.4)
    caller.warm.close()

    assert done.exit_code is None
    assert time.monotonic() - began < PATIENCE
    assert servers() == before


def test_what_a_call_leaves_goes_on(calls: Calls, repo: Path) -> None:
    """A call ends with the host itself; a process that holds its output runs on."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"
    done = calls().do(code)

    try:
        assert done.exit_code == 0
        assert alive(int(done.stdout))
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_ctrl_c_ends_a_call_with_its_children(calls: Calls, repo: Path) -> None:
    """Ctrl-C ends a call with its children, and the server goes on."""
    caller = calls()
    server = caller.server()
    with ended_at_last(repo):
        with (
            interrupted(lambda: started(repo), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            caller.do(hangs(), str(repo))

        assert all(map(gone, pids(repo)))
        assert caller.server() == server


def test_ctrl_c_while_a_call_is_being_ended(calls: Calls, repo: Path) -> None:
    """Ctrl-C after SIGTERM was sent ends the call with its children; the server goes on."""
    caller = calls()
    server = caller.server()
    began = time.monotonic()
    with ended_at_last(repo):
        with (
            interrupted(lambda: written(repo / "asked"), KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            late(caller, repo, hangs(STUBBORN))

        assert all(map(gone, pids(repo)))
        assert time.monotonic() - began < 5  # seconds
        assert caller.server() == server


@pytest.mark.anyio
async def test_cancellation_ends_a_call_with_its_children(
    calls: Calls, anyio_backend: str, repo: Path
) -> None:
    """A cancelled task ends its call with its children, and the server goes on."""
    caller = calls(anyio_backend)
    run = partial(caller.warm.run, time_limit=PATIENCE)
    with ended_at_last(repo):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, ["do", dedent(hangs()), str(repo)])
                running = await anyio.to_thread.run_sync(pids, repo)
                server = psutil.Process(running[0]).ppid()
                scope.cancel()

        assert scope.cancelled_caught
        assert all(map(gone, running))
        done = await run(["do", "import os; print(os.getppid())"])
        assert int(done.stdout) == server


@pytest.mark.anyio
async def test_other_tasks_run_meanwhile(calls: Calls, anyio_backend: str, repo: Path) -> None:
    """Waiting for a warm call does not block the event loop."""
    transport = calls(anyio_backend).warm
    ended: list[Completed] = []

    async def call() -> None:
        args = ["do", dedent(WAITS), "started", "go"]
        ended.append(await transport.run(args, time_limit=PATIENCE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        while not (repo / "started").exists():  # noqa: ASYNC110
            await anyio.sleep(0.01)
        (repo / "go").touch()

    assert [e.exit_code for e in ended] == [0]


@pytest.mark.anyio
async def test_calls_do_not_queue_for_the_threads_of_others(
    calls: Calls, anyio_backend: str
) -> None:
    """A warm call needs no worker thread of the event loop."""
    transport = calls(anyio_backend).warm
    await transport.run(["do", ""], time_limit=PATIENCE)
    limiter = anyio.to_thread.current_default_thread_limiter()
    others = [object() for _ in range(int(limiter.total_tokens))]
    for other in others:
        limiter.acquire_on_behalf_of_nowait(other)
    try:
        with anyio.fail_after(1):
            await transport.run(["do", ""], time_limit=PATIENCE)
    finally:
        for other in others:
            limiter.release_on_behalf_of(other)


# Calls and servers that are killed.


def test_a_call_that_was_killed_is_told_as_such(calls: Calls, backend: str, repo: Path) -> None:
    """A killed call has exit code -9, not None as after a timeout, and the server goes on."""
    caller = calls(backend)
    server = caller.server()
    with ThreadPoolExecutor() as pool, ended_at_last(repo):
        running = pool.submit(caller.do, hangs(), str(repo))
        os.kill(pids(repo)[0], signal.SIGKILL)

        assert running.result().exit_code == -9
        assert running.result().stdout == b"begun\n"
        assert caller.server() == server


def test_a_server_that_was_killed_takes_its_calls_along(
    calls: Calls, backend: str, repo: Path
) -> None:
    """Killing a server ends its calls with exit code -9; the next call gets a new server."""
    caller = calls(backend)
    folders = [repo / "one", repo / "other"]
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
            stack.enter_context(ended_at_last(folder))
        server = caller.server()
        running = [pool.submit(caller.do, hangs(), str(folder)) for folder in folders]
        processes = [pid for folder in folders for pid in pids(folder)]
        os.kill(server, signal.SIGKILL)

        assert [r.result().exit_code for r in running] == [-9, -9]
        assert all(map(gone, [server, *processes]))
        assert caller.server() != server
        assert caller.warm.why_cold is None


def test_a_server_that_was_killed_between_calls_is_replaced(calls: Calls, backend: str) -> None:
    """The next call gets a new server when the old one was killed."""
    caller = calls(backend)
    server = caller.server()
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(server))

    assert caller.server() != server
    assert caller.warm.why_cold is None


DIES = "import os, signal; os.kill(os.getppid(), signal.SIGKILL); signal.pause()"


def test_a_server_that_dies_again_and_again_is_given_up(calls: Calls, backend: str) -> None:
    """After three deaths of a server in a row calls run cold, and `why_cold` says why."""
    caller = calls(backend, only=False)
    codes = [caller.do(DIES).exit_code for _ in range(3)]

    assert codes == [-9, -9, -9]
    assert caller.warm.why_cold == "its server has died"
    assert caller.server() == os.getpid()


def test_servers_that_die_now_and_then_are_not_given_up(calls: Calls) -> None:
    """A call that succeeds resets the count of the server's deaths."""
    caller = calls()
    for _ in range(3):
        assert caller.do(DIES).exit_code == -9
        assert caller.do("").exit_code == 0


def test_a_server_that_takes_many_calls_along_has_died_once(calls: Calls, repo: Path) -> None:
    """A server that dies with eight calls counts as one death."""
    caller = calls(only=False)
    server = caller.server()
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(caller.do, WAITS, f"{n}", "go") for n in range(8)]
        assert eventually(lambda: len(list(repo.iterdir())) == 8)
        os.kill(server, signal.SIGKILL)

    assert [r.result().exit_code for r in running] == [-9] * 8
    assert caller.warm.why_cold is None


def test_a_server_that_has_too_many_files_open_does_not_die(calls: Calls, repo: Path) -> None:
    """A server out of descriptors ends no running call, and a new call still gets an answer."""
    caller = calls(only=False)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(caller.do, WAITS, "started", "go")
        assert eventually(lambda: written(repo / "started"))
        server = int((repo / "started").read_text())
        files = len(list(Path(f"/proc/{server}/fd").iterdir()))
        resource.prlimit(server, resource.RLIMIT_NOFILE, (files + 1, files + 1))
        other = caller.do("print('other')")
        (repo / "go").touch()

    assert (other.exit_code, other.stdout) == (0, b"other\n")
    assert running.result().exit_code == 0


# The end of a client.

CLIENT = """
import multiprocessing, os, signal, sys, threading, time
from pathlib import Path
from spec_kitty_client.transports.process import ProcessTransport
from spec_kitty_client.transports.warm import WarmTransport, connection

program, repo, site, texts, code = sys.argv[1:]
connection._FOLDER = Path(texts)
cold = ProcessTransport(executable=program, repo=repo, env={"PYTHONPATH": site})
transport = WarmTransport(cold, only=True)

def server_of_a_call():
    done = transport.run(["do", "import os; print(os.getppid())"], time_limit=30)
    assert done.exit_code == 0, done
    return int(done.stdout)

def say(*words):
    print(*words, flush=True)

say(server_of_a_call())
"""


@contextmanager
def client(calls: Calls, impatient: Path, code: str, ends: str = "") -> Iterator[Any]:
    """Run another client, which first prints the process id of its server."""
    host, repo = calls().host, calls().repo
    argv = [str(host.program), str(repo), str(host.site), str(impatient), dedent(ends)]
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT + dedent(code), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as proc:
        try:
            yield proc
        finally:
            proc.kill()


HAS_A_CALL = """
    args = ["do", code, repo]
    thread = threading.Thread(target=transport.run, args=(args,), kwargs={"time_limit": 600})
    thread.daemon = True
    thread.start()
    while not Path(repo, "host.pid").exists(): time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGINT)",
        "os._exit(3)",
        "sys.exit(3)",
    ],
)
def test_a_client_that_ends_takes_its_server_and_its_calls_along(
    calls: Calls, impatient: Path, repo: Path, end: str
) -> None:
    """Server and calls end with their client, however that ends."""
    with ended_at_last(repo), client(calls, impatient, HAS_A_CALL + f"    {end}", hangs()) as proc:
        server = int(proc.stdout.readline())
        running = pids(repo)
        proc.wait(PATIENCE)

        assert all(map(gone, [server, *running]))


def test_a_client_without_calls_takes_its_server_along(calls: Calls, impatient: Path) -> None:
    """A server without calls ends when its client is killed."""
    with client(calls, impatient, "os.kill(os.getpid(), signal.SIGKILL)") as proc:
        server = int(proc.stdout.readline())
        proc.wait(PATIENCE)

        assert gone(server)


def test_a_client_takes_a_server_along_that_imports(
    calls: Calls, impatient: Path, repo: Path
) -> None:
    """A server that hangs at the import of its host ends after its client was killed."""
    hangs_there = "import os, time; open('host.pid', 'w').write(str(os.getpid())); time.sleep(600)"
    file = calls().host.package / "cli.py"
    code = f"""
import sys
open({str(file)!r}, "a").write({hangs_there!r})
time.sleep(0.5)  # until it is noticed
transport.run(["do", ""], time_limit=600)
"""
    with client(calls, impatient, code) as proc:
        proc.stdout.readline()
        assert eventually(lambda: written(repo / "host.pid"))
        proc.kill()

        assert gone(int((repo / "host.pid").read_text()))


FORKS = {
    "os.fork": """
        def fork(child):
            if os.fork() == 0:
                try: child()
                finally: os._exit(0)
    """,
    "multiprocessing": """
        def fork(child):
            multiprocessing.get_context("fork").Process(target=child).start()
    """,
}


@pytest.mark.parametrize("how", FORKS)
def test_a_fork_of_a_client_has_a_server_of_its_own(
    calls: Calls, impatient: Path, how: str
) -> None:
    """A forked client starts its own server, and the parent keeps the one it had."""
    code = (
        dedent(FORKS[how])
        + """
def child():
    say(server_of_a_call())
    say(server_of_a_call())
fork(child)
os.wait()
say(server_of_a_call())
"""
    )
    with client(calls, impatient, code) as proc:
        before, one, other, after = (int(proc.stdout.readline()) for _ in range(4))

        assert one == other != before == after
        proc.wait(PATIENCE)
        assert gone(one)
        assert gone(before)


@pytest.mark.parametrize("uses", [True, False])
@pytest.mark.parametrize("how", FORKS)
def test_a_fork_of_a_client_does_not_keep_its_server(
    calls: Calls, impatient: Path, how: str, uses: bool
) -> None:
    """A server ends with the client that started it, although a fork of that client lives on."""
    child = f"""
def child():
    say(os.getpid(), {"server_of_a_call()" if uses else 0})
    signal.pause()
fork(child)
signal.pause()
"""
    with client(calls, impatient, dedent(FORKS[how]) + child) as proc:
        server = int(proc.stdout.readline())
        fork, its_server = map(int, proc.stdout.readline().split())
        proc.kill()
        proc.wait(PATIENCE)
        try:
            assert gone(server)
            assert alive(fork)
            assert not its_server or alive(its_server)
        finally:
            os.kill(fork, signal.SIGKILL)
        assert not its_server or gone(its_server)


# A host that changes.


def replace(file: Path, old: str, new: str) -> None:
    """Replace a file by a changed one, as installers do."""
    text = file.read_text()
    assert old in text
    other = file.with_name("new")
    other.write_text(text.replace(old, new))
    other.chmod(file.stat().st_mode)
    other.replace(file)


@pytest.mark.parametrize("form", ["script", "wrapper", "link"])
@pytest.mark.parametrize(
    "name", ["site/madeup/commands.py", "bin/spec-kitty", "site/typer/main.py"]
)
def test_an_upgraded_host_is_noticed(calls: Calls, form: str, name: str) -> None:
    """The call after an upgrade runs the new host, and later calls share its server."""
    caller = calls("sync", form)
    server = caller.server()
    replace(caller.host.folder / name, "import sys\n", "import sys; sys.upgraded = True\n")

    assert caller.ask("hasattr(sys, 'upgraded')")
    upgraded = caller.server()
    assert upgraded != server
    assert caller.server() == upgraded


@pytest.mark.parametrize("form", ["script", "module"])
def test_a_host_is_upgraded_time_and_again(calls: Calls, backend: str, form: str) -> None:
    """Each call runs the code that is installed at that time."""
    caller = calls(backend, form)
    for n in range(4):  # with a new size: Python compares size and second
        old, new = f"import sys # {'x' * n}\n", f"import sys # {'x' * (n + 1)}\n"
        replace(caller.host.package / "commands.py", old if n else "import sys\n", new)

        assert caller.ask(
            "__import__('inspect').getsource(NOW)".replace("NOW", "sys.modules['madeup.commands']")
        ).startswith(new)


def test_a_host_that_is_edited_is_noticed(calls: Calls) -> None:
    """A call runs the edited code of a host that was changed in place."""
    caller = calls()
    assert caller.ask("hasattr(sys, 'edited')") is False
    file = caller.host.package / "commands.py"
    file.write_text(file.read_text() + "\nsys.edited = True\n")

    assert caller.ask("hasattr(sys, 'edited')") is True


def test_a_host_that_loses_a_module_is_noticed(calls: Calls) -> None:
    """A warm call of a host that lost a module has the answer of a cold one."""
    caller = calls(only=False)
    caller.do("")
    (caller.host.package / "cli.py").unlink()
    shutil.rmtree(caller.host.package / "__pycache__")
    done = caller.do("")

    assert b"No module named 'madeup.cli'" in done.stderr
    assert answer(done) == answer(caller.do_cold(""))


def test_a_host_that_is_gone_is_told(calls: Calls, backend: str) -> None:
    """A call of a warm host whose script is gone raises HostNotFound."""
    caller = calls(backend)
    caller.do("")
    caller.host.script.unlink()

    with pytest.raises(HostNotFound, match="pip install spec-kitty-cli"):
        caller.do("")


def test_bytecode_is_no_upgrade(calls: Calls) -> None:
    """New files of bytecode do not restart the server."""
    caller = calls()
    server = caller.server()
    for folder in (caller.host.package, caller.host.site / "typer"):
        shutil.rmtree(folder / "__pycache__")
    caller.do_cold("")

    assert list(caller.host.package.glob("__pycache__/commands*"))
    assert caller.server() == server


@pytest.mark.parametrize("what", ["host", "environment"])
def test_a_call_whose_server_is_replaced_runs_to_its_end(
    calls: Calls, repo: Path, impatient: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A running call is not killed when another call needs a new server."""
    caller = calls()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(caller.do, WAITS + "    print('done')", "started", "go")
        assert eventually((repo / "started").exists)
        if what == "host":
            replace(caller.host.package / "commands.py", "import sys\n", "import sys # new\n")
        else:
            monkeypatch.setenv("ANOTHER", "1")
        caller.do("")
        time.sleep(0.5)  # in which a server that is to end would have killed it
        (repo / "go").touch()

    assert (running.result().exit_code, running.result().stdout) == (0, b"done\n")


def test_an_upgrade_while_the_host_is_imported_is_noticed(calls: Calls, repo: Path) -> None:
    """A call runs the new code of a host that was upgraded during its import."""
    waits = "import madeup.commands, os, time\nopen('importing', 'w').close()\n"
    caller = calls(at_import=waits + "while not os.path.exists('go'): time.sleep(0.01)")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(caller.do, "import sys; print(hasattr(sys, 'upgraded'))")
        assert eventually((repo / "importing").exists)
        commands = caller.host.package / "commands.py"
        replace(commands, "import sys\n", "import sys; sys.upgraded = True\n")
        (repo / "go").touch()

    assert running.result().stdout == b"True\n"


# The environment and the folder of a host.


def test_a_changed_environment_is_that_of_the_next_call(
    calls: Calls, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call sees the variables that are set, changed or removed since the last one."""
    caller = calls(backend)
    for value in ("1", "2"):
        monkeypatch.setenv("CHANGED", value)
        assert caller.ask("os.environ.get('CHANGED')") == value
    monkeypatch.delenv("CHANGED")

    assert caller.ask("os.environ.get('CHANGED')") is None
    assert caller.warm.why_cold is None


@pytest.mark.parametrize("form", ["script", "module"])
def test_a_folder_that_is_relative_counts_from_where_the_client_is(
    calls: Calls, backend: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative `repo` counts from the folder where the client was made, warm and cold."""
    for name in ("one", "other"):
        (tmp_path / name / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    caller = calls(backend, form, repo="inner")
    tell = "import os, sys; print(os.getcwd(), sys.path)"
    for name in ("one", "other"):
        monkeypatch.chdir(tmp_path / name)
        cold = caller.do_cold(tell)

        assert cold.stdout.startswith(f"{tmp_path / 'one' / 'inner'} ".encode())
        assert caller.do(tell) == cold


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_named(calls: Calls, backend: str, repo: Path, kind: str) -> None:
    """A call in a missing folder raises the HostNotFound of a cold call."""
    caller = calls(backend)
    caller.do("")
    repo.rmdir()
    if kind == "file":
        repo.touch()
    with pytest.raises(HostNotFound) as cold:
        caller.do_cold("")

    with pytest.raises(HostNotFound) as e:
        caller.do("")
    assert str(e.value) == str(cold.value)


def test_a_folder_that_goes_away_at_the_last_moment_is_named(calls: Calls, repo: Path) -> None:
    """A folder that is removed just before the call raises HostNotFound."""

    class Late(ProcessTransport):
        def location(self) -> Any:
            location = super().location()
            repo.rmdir()
            return location

    caller = calls()
    caller.do("")
    cold = caller.cold
    late = Late(repo=cold.repo, executable=cold.executable, env=cold.env)

    with pytest.raises(HostNotFound):
        WarmTransport(late, only=True).run(["do", ""], time_limit=PATIENCE)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_client_whose_folder_is_gone_can_call(
    calls: Calls, repo: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose current folder was removed can still call the host."""
    caller = calls(repo=repo if kind == "absolute" else "", only=False)
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    assert caller.do_cold("print(1)").stdout == b"1\n"

    assert caller.do("print(1)").stdout == b"1\n"


def test_a_changed_umask_is_that_of_the_next_call(calls: Calls) -> None:
    """A call has the umask that its client has at that time."""
    caller = calls()
    before = os.umask(0o022)
    try:
        caller.do("")
        os.umask(0o077)

        assert caller.ask("os.umask(0)") == 0o077
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("form", "env", "at"),
    [
        pytest.param("script", {}, {}, id="script"),
        pytest.param("module", {}, {}, id="module"),
        pytest.param("script", {"PYTHONPATH": "{site}:"}, {}, id="a path that ends with a colon"),
        pytest.param("wrapped module", {}, {}, id="a wrapper around a module"),
        pytest.param(
            "script",
            {},
            {"at_import": "import os, sys; sys.path.append(os.getcwd())"},
            id="a default that is made at import",
        ),
        pytest.param(
            "script",
            {},
            {
                "at_start": """
                    if not hasattr(sys, "found"): sys.found = __import__("os").getcwd()
                    sys.path.append(sys.found)
                """
            },
            id="a cache that is filled before the parser",
        ),
    ],
)
def test_calls_in_two_folders_are_those_of_two_hosts(
    calls: Calls, tmp_path: Path, form: str, env: dict[str, str], at: dict[str, str]
) -> None:
    """A call has the folder and module path of its own repository, as a cold one has."""
    host = install(tmp_path / "host", form, **at)
    env = {name: value.format(site=host.site) for name, value in env.items()}
    tell = "import os, sys; print(os.getcwd(), sys.path)"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    for name in ("one", "other"):
        caller = calls("sync", host=host, repo=tmp_path / name, env=env)

        assert caller.do(tell) == caller.do_cold(tell)


@pytest.mark.parametrize("words", [["x" * 120_000], ["x" * 100_000] * 2])
def test_long_arguments_are_left_to_the_system(
    calls: Calls, backend: str, words: list[str]
) -> None:
    """A call with long arguments runs cold."""
    done = calls(backend).do("import os; print(os.getppid(), *map(len, words))", *words)

    assert done.stdout.decode().split() == [str(os.getpid()), *(str(len(w)) for w in words)]


def test_arguments_that_are_too_long_are_refused_by_the_system(calls: Calls, backend: str) -> None:
    """Arguments that are too long together raise InvalidCall."""
    with pytest.raises(InvalidCall, match="too long"):
        calls(backend).do("", *["x" * 100_000] * 40)


def test_an_argument_with_nul_is_left_to_the_system(calls: Calls, backend: str) -> None:
    """An argument with a NUL character raises ValueError, warm and cold."""
    caller = calls(backend)
    with pytest.raises(ValueError, match="null byte"):
        caller.do_cold("", "a\0b")

    with pytest.raises(ValueError, match="null byte"):
        caller.do("", "a\0b")


# Hosts that cannot be kept warm.

COLD: dict[str, tuple[dict[str, str], str]] = {
    # How each host is installed, and the reason that `why_cold` gives.
    "a syntax error": ({"at_import": "1 +"}, "SyntaxError: invalid syntax"),
    "a missing module": ({"at_import": "import none"}, "No module named 'none'"),
    "an end at import": ({"at_import": "raise SystemExit(3)"}, "SystemExit: 3"),
    "an interrupt at import": ({"at_import": "raise KeyboardInterrupt"}, "KeyboardInterrupt"),
    "an end at once": ({"at_import": "import os; os._exit(3)"}, "its server has died"),
    "words at import": (
        {"at_import": "import sys; print('noise', file=sys.stderr)"},
        "it prints when it is imported: 'noise",
    ),
    "words of a program at import": (
        {"at_import": "import os; os.system('echo noise')"},
        "it prints when it is imported: 'noise",
    ),
    "a thread": (
        {
            "at_import": """
                import threading
                threading.Thread(target=threading.Event().wait, daemon=True).start()
            """
        },
        "1 threads run in it",
    ),
    "something for the end": (
        {"at_start": "import atexit; atexit.register(print, 'end')"},
        "cannot be undone",
    ),
    "an end before the parser": ({"at_start": "sys.exit(3)"}, "it does not start: SystemExit"),
    "an error before the parser": ({"at_start": "1 / 0"}, "it does not start: ZeroDivisionError"),
    "no parser": ({"at_start": "return print(1)"}, "it does not start: SystemExit()"),
    "another name": ({"form": "renamed"}, "has a console script 'kitty'"),
    "another language": ({"form": "shell"}, "does more than start the program"),
    "a module": ({"form": "plain module"}, "is no package"),
}


def cold_host(folder: Path, form: str = "script", **at: str) -> MadeUp:
    """Install a host that cannot be kept warm."""
    made = install(folder, **at)
    program: Any = folder / "other" / "kitty"
    match form:
        case "renamed":
            program.parent.mkdir()
            program.symlink_to(made.script)
        case "shell":
            script(program, f'export A=b\nexec {made.script} "$@"')
        case "plain module":
            (made.site / "plain.py").write_text("import madeup.cli; madeup.cli.main()\n")
            return MadeUp(folder, (sys.executable, "-m", "plain"))
        case _:
            return made
    return MadeUp(folder, str(program))


@pytest.mark.parametrize("what", COLD)
def test_a_host_that_cannot_be_kept_warm_is_called_cold(
    calls: Calls, tmp_path: Path, what: str
) -> None:
    """A host that cannot be kept warm is called cold, and `why_cold` has the reason."""
    given, why = COLD[what]
    caller = calls(host=cold_host(tmp_path / "host", **given), only=False)
    before, cold = servers(), answer(caller.do_cold(TELL))

    assert [answer(caller.do(TELL)) for _ in range(2)] == [cold, cold]
    assert why in (caller.warm.why_cold or "")
    assert servers() == before


TELL = "import os, sys; print(os.getppid(), sys.argv)"


@pytest.mark.parametrize("what", ["a syntax error", "an end at once", "another language"])
def test_who_wants_only_warm_calls_is_told_why_there_are_none(
    calls: Calls, backend: str, tmp_path: Path, what: str
) -> None:
    """With `only=True` the transport raises CannotBeWarm with the reason, and calls no host."""
    given, why = COLD[what]
    caller = calls(backend, host=cold_host(tmp_path / "host", **given))

    for _ in range(2):
        with pytest.raises(CannotBeWarm, match=re.escape(why)):
            caller.do("open('called', 'w')")
    assert not Path(caller.repo, "called").exists()


@pytest.mark.parametrize("what", ["a syntax error", "words at import", "an end at once"])
def test_a_host_that_was_mended_is_kept_warm(calls: Calls, tmp_path: Path, what: str) -> None:
    """The SDK keeps a host warm again after a new installation."""
    caller = calls(host=cold_host(tmp_path / "host", **COLD[what][0]), only=False)
    caller.do("")
    assert caller.warm.why_cold
    install(tmp_path / "host")
    os.utime(caller.host.script)

    assert caller.server() != os.getpid()
    assert caller.warm.why_cold is None


ONCE = "import os, sys\nif not os.path.exists('once'): open('once', 'w'); print('noise', {})"


def test_what_is_printed_only_once_is_not_held_against_a_host(calls: Calls) -> None:
    """Output of a host's first import only does not make that host cold."""
    caller = calls(at_import=ONCE.format("file=sys.stderr"))

    assert caller.do("print(1)").stdout == b"1\n"
    assert caller.server() != os.getpid()


@pytest.mark.parametrize(
    "at",
    [
        pytest.param({"at_import": ONCE.format("end=''")}, id="once"),
        pytest.param({"at_start": "print('noise')"}, id="on the way to the parser"),
    ],
)
def test_what_is_printed_to_stdout_is_printed_as_often_as_it_is(
    calls: Calls, at: dict[str, str]
) -> None:
    """A warm call prints the output of an import as often as a cold one."""
    caller = calls(only=False, **at)
    caller.do("print(1)")

    assert answer(caller.do("print(1)")) == answer(caller.do_cold("print(1)"))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("print('noise')", id="stdout"),
        pytest.param("print('noise', flush=True)", id="stdout at once"),
        pytest.param("print('null', flush=True)", id="what looks like an answer"),
        pytest.param("import sys; print('noise', file=sys.stderr)", id="stderr"),
    ],
)
def test_an_interpreter_that_prints_when_it_starts(calls: Calls, code: str) -> None:
    """The output of an interpreter's start is in every answer, as in a cold one."""
    caller = calls(only=False)
    (caller.host.site / "sitecustomize.py").write_text(code + "\n")
    cold = answer(caller.do_cold("print(1)"))

    assert answer(caller.do("print(1)", time_limit=2)) == cold
    assert answer(caller.do("print(1)", time_limit=2)) == cold


def test_a_cold_call_is_told_the_time_limit_that_was_given(calls: Calls) -> None:
    """A call that falls back to a cold host returns the time limit that it was given."""
    assert calls(at_import="1 +", only=False).do("", time_limit=20.5).time_limit == 20.5


# Time limits during an import for which other calls wait.

SLOW = """
import os, time
open('importing', 'w').close()
while not os.path.exists('go'): time.sleep(0.01)
"""


def test_a_host_that_takes_longer_than_one_call_may_is_kept_warm_all_the_same(
    calls: Calls, repo: Path
) -> None:
    """A host is kept warm although its first call timed out during the import."""
    caller = calls(at_import=SLOW, only=False)
    assert caller.do("", time_limit=0.2).exit_code is None
    (repo / "go").touch()

    assert caller.server() != os.getpid()


def test_a_call_that_is_given_up_at_the_start_does_not_take_others_along(
    calls: Calls, repo: Path
) -> None:
    """A call that times out during the import does not end another call that waits for it."""
    caller = calls(at_import=SLOW, only=False)
    with ThreadPoolExecutor() as pool:
        other = pool.submit(caller.server)
        assert eventually((repo / "importing").exists)
        assert caller.do("", time_limit=0.2).exit_code is None
        (repo / "go").touch()

    assert other.result() != os.getpid()
    assert caller.warm.why_cold is None


# Sharing a server, and its end.


def test_callers_of_the_same_host_share_its_server(calls: Calls) -> None:
    """Callers of one host share a server, which ends when the last of them closes."""
    one, other, third = calls(), calls("asyncio"), calls("trio")
    server = one.server()

    assert other.server() == third.server() == server
    one.warm.close()
    other.warm.close()
    assert third.server() == server
    third.warm.close()
    assert not psutil.pid_exists(server)


def test_callers_with_other_environments_share_nothing(calls: Calls) -> None:
    """Callers with different environments have different servers."""
    one = calls(env={"MINE": "1"})
    other = calls(host=one.host, env={"MINE": "2"})

    assert one.server() != other.server()
    assert (one.ask("os.environ['MINE']"), other.ask("os.environ['MINE']")) == ("1", "2")


def test_callers_in_different_folders_share_a_server(calls: Calls, tmp_path: Path) -> None:
    """Callers in different folders share a server for API calls, each in its own folder."""
    one = calls()
    other = calls(host=one.host, repo=tmp_path)
    server, tell = one.server(), "import os; print(os.getppid(), os.getcwd())"

    assert other.run("orchestrator-api", tell).stdout.decode() == f"{server} {tmp_path}\n"
    assert other.ask("os.getppid()") == os.getpid()  # a call outside the API runs cold


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_ends_with_the_last_that_has_it(calls: Calls, backend: str) -> None:
    """A server ends when its last caller is garbage-collected without `close`."""
    host = calls().host
    caller = Caller(host, calls().repo, backend)
    server = caller.server()
    del caller
    gc.collect()

    assert not psutil.pid_exists(server)


def test_nothing_is_left_when_it_was_closed(calls: Calls, backend: str) -> None:
    """`close` leaves no process, no thread and no descriptor, and the next call works."""
    calls(backend).do("")  # lets the event loop and late imports open their files
    caller = calls(backend, host=install(Path(calls().repo, "again")))
    threads, before = set(threading.enumerate()), descriptors()
    server = psutil.Process(caller.server())
    processes = [server, *server.children(recursive=True)]
    caller.warm.close()

    assert set(threading.enumerate()) <= threads  # threads of other tests may have ended
    assert descriptors() == before
    assert not [process for process in processes if process.is_running()]
    caller.warm.close()
    assert caller.server() != server.pid


def test_to_close_does_not_take_long(calls: Calls) -> None:
    """`close` ends a server without calls at once, also while it imports the host."""
    began, before = time.monotonic(), servers()
    caller = calls()
    caller.do("")
    caller.warm.close()
    caller.warm.prepare()
    caller.warm.close()
    slow = calls(host=install(Path(caller.repo, "slow"), at_import="import time; time.sleep(600)"))
    slow.warm.prepare()
    slow.warm.close()

    assert time.monotonic() - began < 5
    assert servers() == before


def test_callers_that_begin_at_once_share_a_server(calls: Calls) -> None:
    """Eight clients that start together import the host once."""
    first = calls()
    callers = [first, *(calls(host=first.host) for _ in range(7))]
    together = threading.Barrier(8)

    def begin(caller: Caller) -> int:
        together.wait()
        return caller.server()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(begin, callers))

    assert len(found) == 1


def test_threads_that_begin_at_once_share_a_server(calls: Calls) -> None:
    """A client that begins with many calls imports the host once."""
    caller = calls()
    together = threading.Barrier(8)

    def begin(_: int) -> int:
        together.wait()
        return caller.server()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1


# The parser.


def test_the_parser_is_made_once(calls: Calls) -> None:
    """The server makes the host's parser once for all calls."""
    caller = calls()
    caller.do("")
    assert caller.host.trees == 1

    assert [caller.do("").exit_code for _ in range(3)] == [0, 0, 0]
    assert caller.host.trees == 1


CHANGES = {
    "adds": "if sys.argv[1] == 'late': app.command(late)",
    "replaces": "if sys.argv[1] == 'late': app.registered_commands[:] = [late]",
    "adds to a group": """
        class Group: typer_instance = typer.main.Typer()
        app.registered_groups.append(Group)
        if sys.argv[1] == "late": Group.typer_instance.command(late); app.command(late)
    """,
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_parser_that_depends_on_the_call_is_made_for_it(calls: Calls, how: str) -> None:
    """A call that changes the parser gets a parser of its own, as a cold call does."""
    caller = calls(at_start=CHANGES[how])
    file = caller.host.package / "commands.py"
    file.write_text(file.read_text().replace("def start", "def late(): print('late')\n\ndef start"))
    caller.do("")
    cold = caller.run("late", by=caller.cold)
    trees = caller.host.trees

    assert caller.run("late") == cold
    assert cold.stdout == b"late\n"
    assert caller.host.trees == trees + 1
    assert caller.do("print(1)").stdout == b"1\n"


SETS = {
    "environment": ("os.environ['SET'] = '1'", "os.environ.get('SET')"),
    "folder": ("os.chdir('/')", "os.getcwd()"),
    "path": ("sys.path.append('/set')", "sys.path"),
    "log handlers": (
        "logging.basicConfig(level=10)",
        "(logging.root.level, logging.root.handlers)",
    ),
    "a logger": (
        "logging.getLogger('old').disabled = True",
        "logging.getLogger('old').disabled",
    ),
    "a new logger": (
        "logging.getLogger('new').disabled = True",
        "logging.getLogger('new').disabled",
    ),
    "filters": ("warnings.simplefilter('error')", "warnings.filters"),
    "warnings as logs": ("logging.captureWarnings(True)", "warnings.showwarning"),
    "hook": ("sys.excepthook = print", "sys.excepthook"),
    "signals": ("signal.signal(15, signal.SIG_IGN)", "signal.getsignal(15)"),
    "other signals": ("signal.signal(10, signal.SIG_IGN)", "signal.getsignal(10)"),
    "umask": ("os.umask(0o77)", "os.umask(0)"),
    "locale": ("locale.setlocale(0, 'C')", "locale.setlocale(0)"),
    "outputs": ("sys.stdout = sys.stderr", "sys.stdout.name"),
    "outputs anew": (
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'latin-1')",
        "sys.stdout.encoding",
    ),
    "limits": ("resource.setrlimit(7, (99, 99))", "resource.getrlimit(7)"),
    "hooks of threads": ("threading.excepthook = print", "threading.excepthook"),
    "time limit of sockets": ("socket.setdefaulttimeout(3)", "socket.getdefaulttimeout()"),
    "names for all": ("builtins._ = 1", "hasattr(builtins, '_')"),
}
NEEDS = "builtins, io, locale, logging, os, resource, signal, socket, sys, threading, warnings"
UNDONE = ("environment", "folder", "path", "log handlers", "a logger", "filters", "hook", "signals")


@pytest.mark.parametrize("what", SETS)
def test_what_is_set_up_on_the_way_to_the_parser_is_undone(calls: Calls, what: str) -> None:
    """A call gets no setup that the host made for other arguments; otherwise it runs cold."""
    sets, tells = SETS[what]
    caller = calls(
        at_import="import logging; logging.getLogger('old')",
        at_start=f"import {NEEDS}\nif sys.argv[1] != 'do': {sets}",
        only=what in UNDONE,
    )
    tell = f"import {NEEDS}; print({tells})"
    cold = caller.do_cold(tell)

    assert (cold.exit_code, cold.stderr) == (0, b"")
    assert answer(caller.do(tell)) == answer(cold)


def test_what_is_imported_on_the_way_to_the_parser_keeps_its_filters(calls: Calls) -> None:
    """A warnings filter that a module sets before the parser is in every call."""
    caller = calls(at_start="import madeup.filters, warnings; warnings.simplefilter('error')")
    (caller.host.package / "filters.py").write_text(
        "import warnings\nwarnings.filterwarnings('once', category=BytesWarning)\n"
    )
    tell = "import warnings; print(warnings.filters)"

    assert caller.do(tell) == caller.do_cold(tell)


# Imports during a call.

LATE = {
    **{what: SETS[what] for what in ("environment", "path", "log handlers", "filters", "hook")},
    **{what: SETS[what] for what in ("signals", "umask", "locale", "names for all")},
    "something for the end": ("atexit.register(print, 'end')", "1"),
}


@pytest.mark.parametrize("what", LATE)
def test_an_import_during_a_call_changes_no_other_call(calls: Calls, what: str) -> None:
    """A module that one call imports changes nothing in other calls, and the server goes on."""
    sets, tells = LATE[what]
    caller = calls()
    (caller.host.package / "late.py").write_text(f"import {NEEDS}, atexit\n{sets}\n")
    server = caller.server()
    caller.do("import madeup.late")
    tell = f"import {NEEDS}; print({tells})"

    assert answer(caller.do(tell)) == answer(caller.do_cold(tell))
    assert caller.server() == server


def test_a_module_that_is_imported_during_calls_is_upgraded(calls: Calls) -> None:
    """A call imports the module that is installed at that time."""
    caller = calls()
    late = caller.host.package / "late.py"
    late.write_text("value = 1\n")
    read = "import madeup.late as l; print(l.value)"
    assert caller.do(read).stdout == b"1\n"
    replace(late, "value = 1", "value = 22")

    assert caller.do(read).stdout == b"22\n"


def test_a_module_is_the_one_that_a_call_finds(calls: Calls, repo: Path) -> None:
    """A call finds a module on its own path, and other calls find the host's of that name."""
    caller = calls()
    (repo / "plugin.py").write_text("name = 'of the repository'")
    (caller.host.site / "plugin.py").write_text("name = 'of the host'")
    find = "import os, sys; sys.path.insert(0, os.getcwd()); import plugin; print(plugin.name)"

    for _ in range(2):
        assert caller.do(find).stdout == b"of the repository\n"
        assert caller.do("import plugin; print(plugin.name)").stdout == b"of the host\n"


def test_a_log_that_is_opened_at_import_is_written_to_its_end(calls: Calls, repo: Path) -> None:
    """Text that a call writes to a log of its host is in the file when the call ends."""
    caller = calls(at_import="import sys; sys.log = open('log', 'a')", only=False)
    caller.do("import sys; sys.log.write('text')")

    assert (repo / "log").read_text() == "text"


def test_variables_of_one_call_are_those_of_no_other(calls: Calls) -> None:
    """A call has its own TRACEPARENT, and the next one has none."""
    caller = calls()
    code = "import os; print(os.environ.get('TRACEPARENT'))"

    with call_environment({"TRACEPARENT": "00-one"}):
        first = caller.do(code)
        cold = caller.do_cold(code)
    second = caller.do(code)

    assert (first.stdout, cold.stdout, second.stdout) == (b"00-one\n", b"00-one\n", b"None\n")
    assert (first.warm, cold.warm, second.warm) == (True, False, True)
