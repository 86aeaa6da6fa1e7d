"""Run as a file, `isolate.py FD NAMESPACE PROGRAM ARGUMENT...`: starts the program so that it can be checkpointed.

It enters the network namespace and is the first process of a PID namespace: a copy of it may live beside it under the
same numbers. It leads a session and its standard streams are /dev/null: a checkpoint holds nothing of who started it.
Lines written to the file descriptor FD: `pid` and its number, `error` and why it could not start.
"""

import ctypes
import os
import sys

CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000


def main(report: int, namespace: str, program: list[str]) -> None:
    os.set_inheritable(report, False)
    step = namespace
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        entered = os.open(namespace, os.O_RDONLY)
        if libc.setns(entered, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        step = "unshare a PID namespace"
        if libc.unshare(CLONE_NEWPID) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.close(entered)
        child = os.fork()
        if child:  # its parent becomes the one of all orphans, which reaps it
            os.write(report, f"pid {child}\n".encode())
            return
        step = program[0]
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        os.close(null)
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        os.write(report, f"error {step}: [Errno {error.errno}] {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
