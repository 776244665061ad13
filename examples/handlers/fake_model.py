"""A slow language model to try `streaming.py` with: it says the question back, word by word.

    python3 fake_model.py 8099        # then MODEL_URL=http://127.0.0.1:8099/generate

`POST /generate` with `{"prompt":"…"}` is answered with one line of JSON for each word, each
`FAKE_MODEL_MS` (100) after the last. A prompt with `overloaded` in it is answered with 503. It
has no part in Turnkey.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAUSE = int(os.environ.get("FAKE_MODEL_MS", "100")) / 1000


class Model(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        prompt = json.loads(body)["prompt"]
        if "overloaded" in prompt:
            self.send_response(503)
            self.send_header("Retry-After", "7")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for word in f"You said: {prompt}".split():
            time.sleep(PAUSE)
            self.wfile.write(json.dumps({"token": word + " "}).encode() + b"\n")
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    # Hundreds ask in the same moment.
    request_queue_size = 1024


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8099
    server = Server(("127.0.0.1", port), Model)
    print(f"http://127.0.0.1:{server.server_port}/generate", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
