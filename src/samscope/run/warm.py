"""Start-up paid once: a process with torch and the plan, which forks a ready child for each job.

Importing torch, pandas and matplotlib takes seconds, opening the plan of a large grid as well, a
cell of the quick profile takes a few. The workflow starts one server when it starts (``onstart``);
each local job asks it for a child. The server dies with the workflow, for it reads a pipe the
workflow holds. Where there is no server (a cluster job, a command typed by hand) the same command
runs by itself, with the same result.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from samscope import CONFIGURATION, numerics

SERVER = "SAMSCOPE_WARM"
"""Environment variable a workflow hands to its jobs: path of the server's socket."""
# What the server imports before it forks the first child for a command; torch's first product with
# a Hessian imports sympy by way of symbolic_shapes, a second of it.
_MAKING = (
    "torch",
    "torch.fx.experimental.symbolic_shapes",
    "safetensors.torch",
    "samscope.run.cli",
    "samscope.run.project",
    "samscope.train.engine",
    "samscope.measure.flatness",
)
_ANALYSIS = (
    *("pandas", "scipy.stats", "matplotlib.pyplot", "jinja2", "samscope.run.project"),
    *("samscope.report.build", "samscope.analysis.canvas"),
)
_IMPORTS = dict.fromkeys(("make", "train", "measure"), _MAKING) | dict.fromkeys(
    ("table", "figure", "spectra", "claims", "report"), _ANALYSIS
)
_Main = Callable[[list[str]], int]


def hand_down(config: dict[str, Any], mkl: str = numerics.MODES[0]) -> None:
    """Let jobs run this Python, in an activated environment or not, with this configuration.

    A cluster's job inherits the environment of the machine that submits, but leaves that one's
    server alone: it computes where, and with what, it was given.

    Args:
        config: the workflow's.
        mkl: its profile's mode of MKL, see `samscope.numerics`.
    """
    os.environ[numerics.MODE] = mkl
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ[CONFIGURATION] = json.dumps(config)
    os.environ.pop(SERVER, None)


def start() -> subprocess.Popen | None:
    """Start a server that lives as long as the calling process; jobs find it in the environment.

    Its socket lies in the temporary directory, or in /tmp where that path is too long for one.

    Returns:
        None where neither takes it: each job then starts by itself, with the same result.
    """
    for folder in (None, "/tmp"):
        try:
            return _start(tempfile.mkdtemp(prefix="samscope-", dir=folder))
        except OSError:
            continue
    return None


def _start(folder: str) -> subprocess.Popen:
    """Start a server whose socket lies in a folder, which goes with it.

    Raises:
        OSError: where no socket can be there.
    """
    path = os.path.join(folder, "socket")
    try:
        return _listening(path)
    except OSError:
        os.rmdir(folder)
        raise


def _listening(path: str) -> subprocess.Popen:
    with socket.socket(socket.AF_UNIX) as listening:  # from here on, no job comes too early
        listening.bind(path)
        listening.listen(64)
        server = subprocess.Popen(
            [sys.executable, "-m", "samscope.run.warm", str(listening.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={**os.environ, "MPLBACKEND": "Agg"},
        )
    os.environ[SERVER] = path
    return server


def main(argv: list[str], direct: _Main) -> int:
    """Run a command in a child of the server; by itself where there is none.

    Args:
        argv: the command's arguments.
        direct: runs them in this process.

    Returns:
        The exit status.
    """
    connection = _ask(argv)
    if connection is None:
        return direct(argv)
    try:
        answer = connection.recv(16)
    except ConnectionResetError:
        answer = b""
    if not answer:
        print("samscope: the process of this job died; run the command again", file=sys.stderr)
    return int(answer or b"1")


def _ask(argv: list[str]) -> socket.socket | None:
    """Hand a command and this process's streams to the server; None where it does not answer."""
    path = os.environ.get(SERVER)
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    request = {"argv": argv, "cwd": os.getcwd(), "env": dict(os.environ)}
    try:
        connection.connect(path)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        if connection.recv(1) != b"+":  # the child is there; from here the work is its own
            return None
    except OSError:
        return None
    return connection


def serve(server: socket.socket) -> None:
    """Fork a child, with all imports made, for each connection until stdin closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workflow decides when to stop
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    watched: list[socket.socket | int] = [server, 0]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if 0 in ready and not os.read(0, 1):  # the workflow is gone
            break
        connection, _ = server.accept()
        line, streams, _, _ = socket.recv_fds(connection, 65536, 3)
        while line and not line.endswith(b"\n"):
            chunk = connection.recv(65536)
            line = line + chunk if chunk else b""
        if not line:  # the client died while it asked
            continue
        request = json.loads(line)
        if request["env"].get(numerics.MODE) != os.environ[numerics.MODE]:
            _leave(connection, streams)  # MKL has one mode in a process: it runs by itself
            continue
        _prepare(request)
        if os.fork() == 0:
            server.close()
            _work(connection, request, streams)
        _leave(connection, streams)
    path = Path(server.getsockname())
    path.unlink()
    path.parent.rmdir()


def _prepare(request: dict[str, Any]) -> None:
    """What is the same for all children of a command is done before they are forked."""
    names = _IMPORTS.get(request["argv"][0], ())
    for name in names:
        import_module(name)
    config = request["env"].get(CONFIGURATION)
    if names and config and request["cwd"] == os.getcwd():
        from samscope.run import project

        project.hold(config)
        gc.freeze()  # a collection in a child would write to all that they share


def _leave(connection: socket.socket, streams: list[int]) -> None:
    """Close what belongs to a client and, where there is one, to its child."""
    connection.close()
    for stream in streams:
        os.close(stream)


def _work(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> None:
    """In the child: become the client's command, answer with its exit status, leave."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # Those of the server know of files what may not hold of pipes.
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    connection.sendall(b"+")

    def follow() -> None:
        # A client that was killed takes its job with it.
        if not connection.recv(1):
            os.kill(os.getpid(), signal.SIGKILL)

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    threading.Thread(target=follow, daemon=True).start()
    status = 1
    try:
        from samscope.run.cli import main as command

        status = command(request["argv"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(status).encode())
    os._exit(status)


if __name__ == "__main__":
    numerics.pin()
    serve(socket.socket(fileno=int(sys.argv[1])))
