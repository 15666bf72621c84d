"""Become a program, once it is written down which process it is. Nothing of the service is imported.

    python start.py FILE PROGRAM ARGUMENT…

FILE appears before the program begins. So whoever comes after the process that started it finds every one
that may be alive, wherever its starter was killed.
"""

import json
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    """Write FILE, and go on as the program."""
    file, *command = sys.argv[1:]
    # The words after the name, which may have blanks and brackets in it.
    words = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    said = {"host": socket.gethostname(), "process": os.getpid(), "began": words[19]}
    temporary = Path(f"{file}.new")
    temporary.write_text(json.dumps(said), encoding="utf-8")
    temporary.replace(file)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
