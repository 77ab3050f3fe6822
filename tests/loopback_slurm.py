"""A Slurm of its own on this machine: munge, a controller and two nodes of one core, in a folder.

Everything lies in that folder and ends with the block. Run by the user who calls it, who need not
be root; there is no accounting, so `squeue` tells the state of jobs. Needs the programs in
`PROGRAMS`: Debian's packages slurm-wlm and munge.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
NODES = ("one", "two")
_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
AuthType=auth/munge
# A job that is to run again waits as long as its credentials are good.
AuthInfo=socket={folder}/munge.socket,cred_expire=20
SlurmUser={user}
SlurmdUser={user}
# No control groups: these need the whole machine.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=2
# A node that is silent so long is down. Many sites start its jobs again only where these ask.
SlurmdTimeout=5
JobRequeue=0
# A node is one core, whatever the machine has.
SlurmdParameters=config_overrides
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=16000
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=16000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> list[str]:
    """Programs that it needs and this machine has not. Daemons may be off the search path."""
    return [name for name in PROGRAMS if _found(name) is None]


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def slurm(folder: Path):
    """Start it; yields what its commands need in their environment.

    The folder's path is short, for it holds sockets.
    """
    host = socket.gethostname().partition(".")[0]
    user = pwd.getpwuid(os.getuid()).pw_name
    told = {"folder": folder, "host": host, "user": user, "ports": _ports(3), "nodes": NODES}
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**told))
    for name in ("bin", "state", *NODES):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = {"socket": "munge.socket", "key-file": key.name, "pid-file": "munge.pid"}
    files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    munge = [f"--{option}={folder / name}" for option, name in files.items()]
    env = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    # The plugin calls it without the environment's SLURM_CONF.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={env["SLURM_CONF"]} exec {_found("srun")} "$@"\n')
    srun.chmod(0o700)
    with ExitStack() as running:
        # Forced: the temporary directory above belongs to all.
        running.enter_context(_daemon(folder, env, "munged", "--foreground", "--force", *munge))
        _wait((folder / "munge.socket").exists, "munged")
        running.enter_context(_daemon(folder, env, "slurmctld", "-D", "-i"))
        for name in NODES:
            running.enter_context(node(env, name))
        _wait(lambda: idle(env) == list(NODES), "slurmd")
        yield env
        command(env, "scancel", "--full", "--signal=KILL", "--user", user)
        _wait(lambda: not jobs(env), "scancel")
    _wait(lambda: not _processes(env), "the end")


def node(env: dict[str, str], name: str):
    """The node works until the block ends."""
    return _daemon(Path(env["SLURM_CONF"]).parent, env, "slurmd", "-D", "-N", name)


def cut(env: dict[str, str], name: str) -> int:
    """Of a node with a job all processes are killed, as by a cut of its power; the job's number."""
    job = int(command(env, "squeue", "--noheader", "-w", name, "-o", "%A"))
    daemon = re.compile(rf"\S*slurmd -D -N {name}\b|slurmstepd: \[{job}\.")
    for process in _processes(env):
        with suppress(OSError):  # it ended meanwhile
            task = f"SLURMD_NODENAME={name}\0".encode() in (process / "environ").read_bytes()
            if task or daemon.match((process / "cmdline").read_text().replace("\0", " ")):
                os.kill(int(process.name), signal.SIGKILL)
    return job


def _processes(env: dict[str, str]) -> list[Path]:
    """Of all that this Slurm has started, the folders that tell of it, the oldest first."""
    mark, found = f"SLURM_CONF={env['SLURM_CONF']}\0".encode(), []
    for told in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # of another user, or ended
            if mark in told.read_bytes():
                found.append(told.parent)
    return sorted(found, key=lambda folder: int(folder.name))


@contextmanager
def _daemon(folder: Path, env: dict[str, str], name: str, *args: str):
    with (folder / f"{name}.out").open("ab") as said:
        # It ends as well where this process is killed.
        call = ["setpriv", "--pdeathsig", "TERM", _found(name), *args]
        place = {"env": {**os.environ, **env}, "cwd": folder, "stdout": said, "stderr": said}
        one = subprocess.Popen(call, **place)
    try:
        yield one
    finally:
        one.terminate()
        one.wait(30)


def _ports(count: int) -> list[int]:
    """So many that are free now."""
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def _wait(ready, what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} is not ready after {seconds:.0f} s")
        time.sleep(0.1)


def command(env: dict[str, str], *args: str) -> str:
    """What one of Slurm's commands says."""
    told = subprocess.run(args, env={**os.environ, **env}, capture_output=True, text=True)
    return told.stdout


def idle(env: dict[str, str]) -> list[str]:
    """Nodes without a job."""
    return sorted(command(env, "sinfo", "--noheader", "-N", "-t", "idle", "-o", "%N").split())


def jobs(env: dict[str, str], state: str = "all") -> list[int]:
    """Of the jobs in a state, or of all that have not ended, the numbers."""
    asked = ("--states", state) if state != "all" else ()
    return sorted(map(int, command(env, "squeue", "--noheader", "-o", "%A", *asked).split()))
