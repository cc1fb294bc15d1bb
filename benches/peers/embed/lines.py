"""What a library's process does: it answers a line with a line."""

import os
import sys


def serve(usage: str, sides, start) -> int:
    """Makes a worker of the arguments after the side's name, and answers lines with its methods until the input ends."""
    if len(sys.argv) < 3 or sys.argv[1] not in sides:
        print(usage, file=sys.stderr)
        return 2
    # Libraries may print, from Python or not; what they print must not look like an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = start(*sys.argv[1:])
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = getattr(worker, command)(*arguments)
        except Exception as error:  # Whatever a library throws belongs into the report.
            answer = f"failed {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(answer, file=answers, flush=True)
    return 0
