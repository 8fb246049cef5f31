"""Runs a command line on a terminal: LINE [TEXT ANSWER]… Each answer is typed once its text has appeared; the last again as
long as nothing comes of it, for a program may draw before it listens."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 60
REPEAT = 5

line, rest = sys.argv[1], sys.argv[2:]
keys = list(zip(rest[::2], rest[1::2]))
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.execvp("bash", ["bash", "-c", line])
os.set_blocking(terminal, False)
screen, seen, end = b"", 0, time.monotonic() + PATIENCE
last, typed = b"", 0.0
while True:
    if time.monotonic() > end:
        sys.stdout.buffer.write(screen)
        sys.exit(f"nothing more happened; waited for {keys[:1]}")
    if keys:
        at = screen.find(keys[0][0].encode(), seen)
        if at >= 0:
            seen = at + len(keys[0][0].encode())
            last, typed = keys.pop(0)[1].encode(), time.monotonic()
            os.write(terminal, last)
    elif last and time.monotonic() > typed + REPEAT:
        typed = time.monotonic()
        os.write(terminal, last)
    select.select([terminal], [], [], 0.1)
    try:
        piece = os.read(terminal, 65536)
    except BlockingIOError:
        continue
    except OSError:
        break
    if not piece:
        break
    screen += piece
    end = time.monotonic() + PATIENCE
sys.stdout.buffer.write(screen)
sys.stdout.flush()
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if keys:
    sys.exit(f"never asked for {keys[0][0]!r}")
sys.exit(status)
