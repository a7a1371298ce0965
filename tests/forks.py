"""Processes of the suite, forked from one that has run it before: real in all but their imports.

A fork has its own pid, process group, environment, exit code and signals; what it spares are the seconds in which a new
interpreter imports torch, open_clip and timm. The workers that pytest-xdist starts in it are forks, too. Where a new
interpreter is the point, tests use `subprocess`.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from pathlib import Path

import pytest
from execnet.gateway_base import Popen2IO
from execnet.gateway_io import Popen2IOMaster

from tests import ROOT

_TOO_LONG = 600  # seconds; what hangs is killed
_SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}


class Fork:
    """`python -m COMMAND` in this environment and in `folder`, as `subprocess.Popen` of it would be; without a command
    an interpreter that reads from its standard input what to do, as pytest-xdist starts it.

    What is printed goes to `terminal`, a file descriptor, where there is one.
    """

    def __init__(
        self, *command: str, folder: Path = ROOT, parent: socket.socket | None = None, terminal: int | None = None
    ) -> None:
        (theirs, stdin), (stdout, output), (done, says) = os.pipe(), os.pipe(), os.pipe()
        if terminal is not None:
            os.dup2(terminal, output)
        about = {"command": command, "environment": dict(os.environ), "folder": str(folder), "path": [str(folder)]}
        request = json.dumps(about).encode()
        socket.send_fds(parent or _parent(), [request], [theirs, output, output if command else 2, says])
        for fd in (theirs, output, says):
            os.close(fd)
        self.stdin, self.stdout, self._done = (
            os.fdopen(fd, m) for fd, m in ((stdin, "wb"), (stdout, "rb"), (done, "r"))
        )
        self.pid, self._code = int(self._done.readline()), None

    def wait(self) -> int:
        """The exit code; minus the signal's number of what was killed."""
        if self._code is None:
            self._code = int(self._done.readline())
        return self._code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> tuple[int, str]:
        """The exit code, and what was printed and is not read yet."""
        self.stdin.close()
        output = self.stdout.read().decode(errors="replace")
        return self.wait(), output


@contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """A folder for the PATH of a shell, whose `clip-robustness` and `pytest` are forks. They run in the shell's folder
    and have its environment; as for scripts that pip installs, modules of the folder are not on the path."""
    connection = _parent().fileno()
    folder.mkdir(parents=True)
    for name, module in (("clip-robustness", "clip_robustness"), ("pytest", "pytest")):
        (folder / name).write_text(f"#!{sys.executable} -IS\n{_COMMAND.format(connection=connection, module=module)}")
        (folder / name).chmod(0o755)
    os.set_inheritable(connection, True)
    yield folder
    os.set_inheritable(connection, False)


_COMMAND = """
import json, os, socket, sys
read, write = os.pipe()
about = {{"command": ["{module}", *sys.argv[1:]], "environment": dict(os.environ), "folder": os.getcwd(), "path": []}}
socket.send_fds(socket.socket(fileno={connection}), [json.dumps(about).encode()], [0, 1, 2, write])
os.close(write)
_, code = os.fdopen(read)
sys.exit(int(code))
"""


@cache
def _parent() -> socket.socket:
    """A connection to the process that forks. It ends with the connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
    subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
    )  # fmt: skip
    theirs.close()
    return ours


def _warm() -> None:
    """Import what runs import, by a run."""
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        cells = "mini:clip-clean or mini:clip-imagenet-c-contrast-3 or mini:clip-bim-8/255"
        pytest.main(["-p", "no:cacheprovider", f"--report-dir={folder}/run", "--samples=2", "-k", cells])


def _serve(connection: socket.socket) -> list[str] | None:
    """Fork for every request. Returns its command in a fork, and None when nobody can ask any more."""
    while True:
        message, fds, _, _ = socket.recv_fds(connection, 1 << 20, 4)
        if not message:
            return None
        if os.fork() == 0:
            connection.close()
            return _begun(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)


def _begun(request: dict, stdin: int, stdout: int, stderr: int, done: int) -> list[str]:
    """Fork once more: this process says which the other is and how it ended, and forks what the other asks for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in _SIGNALS:  # which a whole group gets
        signal.signal(number, signal.SIG_IGN)
    if request["command"]:
        os.setsid()
        _moved(Path(request["folder"]), request["path"])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if pid := os.fork():
        ours.close()
        for fd in {stdin, stdout, stderr}:
            os.close(fd)
        os.write(done, f"{pid}\n".encode())
        if command := _serve(theirs):
            return command
        _, status = os.waitpid(pid, 0)
        os.write(done, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    theirs.close()
    for number, handler in _SIGNALS.items():
        signal.signal(number, handler)
    signal.alarm(_TOO_LONG)
    for fd, standard in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, standard)
    for fd in {stdin, stdout, stderr, done}:
        os.close(fd)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - that of before may be for a file, which can seek
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # what the environment says of it counts

    def start_worker(self, args, execmodel):
        self.popen = Fork(parent=ours)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    Popen2IOMaster.__init__ = start_worker
    return request["command"] or ["-c"]


def _moved(folder: Path, path: list[str]) -> None:
    """Go there, and leave behind what was imported as the checkout's."""
    os.chdir(folder)
    if folder == ROOT:
        return
    sys.path[:] = path + [place for place in sys.path if place != str(ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("conftest", "robustness_tests")]:
        del sys.modules[name]


def _run(command: list[str]) -> None:
    """As an interpreter runs and ends, but that it does not take down all that is imported, for half a second."""
    code = None
    try:
        if command == ["-c"]:
            exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
        else:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        code = end.code
    threading._shutdown()
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _warm()
    gc.collect()
    gc.freeze()  # what is imported is no garbage: forks need not look through it, nor copy its pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that only wait
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1]))) or sys.exit()
    _run(sys.argv)
