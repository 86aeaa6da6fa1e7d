"""A SIP user agent server over UDP whose state would be missed: its dialogues, and some memory.

`python -m edgewright.demo.dialogue --address A --port P --memory-mb M`: an INVITE is answered by 180 Ringing and 200
OK, a BYE or OPTIONS by 200 OK, as RFC 3261 has it for calls that are taken at once. `Served` in an answer counts the
dialogues ended.
Needs no more than the standard library of a minimal Python.
"""

from __future__ import annotations

import argparse
import random
import socket
import zlib

PORT = 5060
COPIED = ("via", "from", "call-id", "cseq")


def answers(request: str, dialogues: set[str], served: int) -> tuple[list[str], int]:
    """To a request, which may be repeated -> messages, dialogues ended by now."""
    lines = request.split("\r\n")
    method = lines[0].split(" ")[0]
    headers = [line for line in lines[1:] if ":" in line]
    values = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in headers)}
    call = values.get("call-id", "")
    if method == "INVITE":
        dialogues.add(call)
        statuses = ["180 Ringing", "200 OK"]
    elif method == "BYE":
        served += call in dialogues
        dialogues.discard(call)
        statuses = ["200 OK"]
    elif method == "OPTIONS":
        statuses = ["200 OK"]
    else:  # ACK, and what is none of ours, has no answer
        return [], served
    copied = [line for line in headers if line.split(":", 1)[0].strip().lower() in COPIED]
    to = values.get("to", "") + ("" if "tag=" in values.get("to", "") else f";tag={zlib.crc32(call.encode())}")
    contact = f"<sip:service@{values.get('to', '').partition('@')[2].partition('>')[0]}>"
    own = [f"To: {to}", f"Contact: {contact}", f"Served: {served}", "Content-Length: 0"]
    return ["\r\n".join([f"SIP/2.0 {status}", *copied, *own, "", ""]) for status in statuses], served


def serve(address: str, port: int, memory_mb: int) -> None:
    memory, block = bytearray(), random.Random(0).randbytes(1 << 20)
    for _ in range(memory_mb):
        memory += block  # every page is in use
    dialogues: set[str] = set()
    served = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((address, port))
        while memory:
            data, peer = own.recvfrom(65536)
            told, served = answers(data.decode(errors="replace"), dialogues, served)
            for message in told:
                own.sendto(message.encode(), peer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--memory-mb", type=int, default=20)
    given = parser.parse_args()
    serve(given.address, given.port, given.memory_mb)


if __name__ == "__main__":
    main()
