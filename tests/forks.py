"""Run scripts one after the other, each in a fork of a process that has imported their hosts.

A host such as transformers takes seconds to import; here all scripts together wait for it once.
What belongs to Evenfall is imported by each script itself.

Each line of the input is a script, a file for its output and its arguments, as JSON; each line of
the answer is the script's exit status. An empty line ends it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress

HOSTS = (
    "numba", "numba.core.typing.cffi_utils", "numba.cpython.charseq", "torch", "torch._dynamo",
    "transformers.models.auto", "transformers.trainer", "torch_geometric.nn",
)  # fmt: skip
FORKS = sys.platform == "linux"  # elsewhere the hosts are imported anew
LONGEST = 3600  # seconds, against a hang alone


def run_here(script: str, output: str, arguments: list[str]) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` does, in the script's folder."""
    signal.alarm(LONGEST)
    folder = os.path.dirname(script)
    os.chdir(folder)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv, sys.path[0] = [script, *arguments], folder
    runpy.run_path(script, run_name="__main__")


def run(script: str, output: str, arguments: list[str]) -> int:
    """The exit status of a script in a process of its own."""
    if not FORKS:
        with open(output, "wb") as file:
            command, folder = [sys.executable, script, *arguments], os.path.dirname(script)
            done = subprocess.run(command, cwd=folder, stdout=file, stderr=file, timeout=LONGEST)
        return done.returncode
    child = os.fork()
    if child == 0:
        run_here(script, output, arguments)
        sys.exit()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    for host in HOSTS if FORKS else ():
        with suppress(ImportError):  # the script that needs it then says so
            importlib.import_module(host)
    gc.freeze()  # the forks' collections leave the hosts out
    atexit.register(gc.unfreeze)  # extensions look for what is left at the end
    while line := sys.stdin.readline().strip():
        print(run(*json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
