#!/usr/bin/env python3
"""Decides about system calls of commands, for `encode-policy run --supervise SOCKET`.

    examples/decide.py SOCKET &
    encode-policy run policy.toml --supervise SOCKET -- command

The policy says what is asked about (`action = "notify"`). Each event is a line of
JSON, and is answered by one: {"verdict": "allow"}, "audit", "kill", or "deny" with
an "errno". An answer may hold more, for this call and all that follow:
"restrict_network", "restrict_pid_network" and "grant_network" with lists of
addresses, "deny_path" and "allow_path" with lists of paths, "restrict_max_memory"
and "restrict_max_processes" with numbers.
"""

import errno
import json
import socketserver
import sys


def decide(event):
    """What becomes of a call; this is what to change."""
    if event["call"] in ("execve", "execveat") and any("curl" in word for word in event.get("argv", [])):
        return {"verdict": "allow", "restrict_pid_network": []}
    if "/.git/" in event.get("path", "") and event["category"] == "file":
        return {"verdict": "deny", "errno": errno.EACCES}
    return {"verdict": "allow"}


class Command(socketserver.StreamRequestHandler):
    """One command, until nobody of it is left."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(json.dumps(decide(json.loads(line))).encode() + b"\n")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One thread for each command."""

    daemon_threads = True


if __name__ == "__main__":
    with Server(sys.argv[1], Command) as server:
        print("ready", flush=True)
        server.serve_forever()
