"""Programs of ours and of others that answer every line with a line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A warm process that answers every line with a line of JSON."""

    def __init__(self, command, environment=None):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = os.environ | (environment or {})
        self.process = subprocess.Popen(command, env=environment, **pipes)

    def read(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        reason = "killed, most likely for want of memory" if code == -9 else f"exit status {code}"
        return {"error": reason}

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self.read()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def sound(name, answer):
    """The answer of the process of this name; its error ends the program."""
    if "error" in answer:
        sys.exit(f"{name}: {answer['error']}")
    return answer


def executable(package, bench):
    """Builds a benchmark of ours and says where it is."""
    command = ["cargo", "bench", "-p", package, "--bench", bench, "--no-run"]
    command.append("--message-format=json")
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    return next(
        message["executable"]
        for message in messages
        if message.get("executable") and message["target"]["name"] == bench
    )
