"""What a newcomer does: start the program with nothing, paste the curl that it prints, stop it with Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import tempfile

gateway = os.path.abspath(sys.argv[1])
home = tempfile.mkdtemp()
environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
program = subprocess.Popen([gateway, "--listen", "127.0.0.1:0"], cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
printed, curl, collecting = [], [], False
for line in program.stdout:
    printed.append(line)
    if line.lstrip().startswith("curl "):
        collecting = True
    if collecting:
        curl.append(line)
        if not line.rstrip().endswith("\\"):
            break
pasted = "".join(curl).strip()
assert pasted.startswith("curl "), "no curl was printed:\n" + "".join(printed)
assert re.search(r"http://127\.0\.0\.1:\d+/v1", "".join(printed)), "no base URL was printed"
answer = subprocess.run(["bash", "-c", pasted.replace("curl ", "curl -sS ", 1)], capture_output=True, text=True, timeout=30)
assert '"chat.completion"' in answer.stdout, (pasted, answer.stdout, answer.stderr)
program.send_signal(signal.SIGINT)
assert program.wait(timeout=20) == 0, f"exit {program.returncode}"
print("newcomer: 1 passed, 0 failed")
