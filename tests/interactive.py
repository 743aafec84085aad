# SPDX-License-Identifier: MIT
"""A shell on a terminal of its own, for tests that type: what a person would see comes
back as text. `M` in its environment is the command mlog."""
import os
import pty
import re
import select
import signal
import time

import support

PROMPT = "<<READY>>"


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, folder, *argv):
        env = support.clean_environment(PS1=PROMPT, TERM="xterm", HOME=folder, M=support.MLOG,
                                        LINES=24, COLUMNS=80, PROMPT_COMMAND="", HISTFILE="")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            # Whoever started the tests behind `&` or nohup ignores what is typed here.
            for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(each, signal.SIG_DFL)
            os.execvpe(argv[0], argv, env)
        self.text = ""
        self.until(PROMPT)

    def until(self, pattern):
        """Read until the pattern has come; all before it and itself, which are then gone."""
        end = time.monotonic() + 60
        while not (found := re.search(pattern, self.text, re.S)):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text[-2000:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                self.text += os.read(self.fd, 1 << 16).decode(errors="replace").replace("\r", "")
        got, self.text = self.text[:found.end()], self.text[found.end():]
        return got

    def send(self, text):
        os.write(self.fd, text.encode())

    def do(self, line):
        """Type a line; what came until the next prompt."""
        self.send(line + "\n")
        self.until(re.escape(line.split("\n")[-1][:20]))
        return self.until(PROMPT)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)
