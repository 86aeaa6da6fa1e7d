"""Run as a file, `launch.py FD NETWORK FILE... -- PROGRAM ARGUMENT...`: joins groups, then becomes the program.

The program is in its groups from its first instruction, so that its start-up memory is accounted, and in the network
namespace that the file NETWORK names, where it is not empty. A child of
a threaded process must not run Python between fork and exec, hence a fresh interpreter. A failure is written
to the file descriptor FD, which a successful exec closes.
"""

import os
import sys

CLONE_NEWNET = 0x40000000


def main(arguments: list[str]) -> None:
    report = int(arguments[0])
    end = arguments.index("--")
    os.set_inheritable(report, False)
    step = ""
    try:
        for file in arguments[2:end]:
            step = file
            with open(file, "w") as procs:
                procs.write(str(os.getpid()))
        if arguments[1]:
            import ctypes  # its memory is the service's to pay: only where it is needed

            step = arguments[1]
            with open(step) as network:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        program = arguments[end + 1 :]
        step = program[0]
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        os.write(report, f"{step}: [Errno {error.errno}] {error.strerror}".encode())
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
