"""Stands for the program `turnkey` in the tests of `turnkey.testing.Program`: takes its
command line, says where it serves, answers `POST /http` with what it was asked and how often,
and ends at Ctrl-C. The count is in the file that `--storage` names.
"""

import http.server
import json
import os
import signal
import sys

arguments = sys.argv[1:]
if "--fail" in arguments:
    sys.exit("error: no such option: --fail")
assert arguments[0] == "run", arguments
assert "TURNKEY_TELEGRAM_TOKEN" not in os.environ
storage = arguments[arguments.index("--storage") + 1]
assert storage.startswith("sqlite:"), storage
counter = storage[len("sqlite:") :]


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count = int(open(counter).read()) + 1 if os.path.exists(counter) else 1
        with open(counter, "w") as file:
            file.write(str(count))
        failed = body.get("text") == "fail"
        reply = {"text": f"{count}: {body.get('text', body.get('button'))}"}
        if "button" in body:
            reply["buttons"] = [{"label": "Yes", "data": "1"}]
        data = json.dumps({"replies": [reply]}).encode()
        self.send_response(503 if failed else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print(f"turnkey: {arguments}", file=sys.stderr)
print(f"Started turnkey 0.1.0: http://127.0.0.1:{server.server_port} (1 worker)", file=sys.stderr, flush=True)
server.serve_forever()
