#!/usr/bin/env python3
"""What we send to Viber and VK, judged by somebody else's libraries: started by
tests/program/platforms/judged.rs.

Usage: viber_vk.py BOT      (the example `anything`, built)

BOT is started with this script as its platforms. It is told to say one of everything; each call
is read by viberbot's message classes (those that Viber's users send with) and compared with what
vkbottle's own methods and keyboards write. A field that they do not know, or a message that they
find incomplete, is an error.
"""

import hashlib
import hmac
import http.server
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

TOKEN, SECRET, PATIENCE = "4453b6ac-token", "secretofours", 20

# Fields of ours that vkbottle 4.11 passes on by other ways than by name.
VK_KNOWN = {"access_token", "v", "format_data"}

SAID = [
    {"text": "**bold** [page](https://example.org)", "format": "markup"},
    {"text": "which?", "buttons": [[{"label": "<Tea>", "data": "tea"}, {"label": "Page", "url": "https://example.org"}],
                                   [{"label": "Where", "request": "location"}]]},
    {"text": "keys", "keyboard": {"rows": [[{"label": "Yes"}, {"label": "No"}]]}},
    {"location": {"latitude": 48.5, "longitude": 16.25, "title": "Vienna"}},
    {"contact": {"phone": "+431234", "name": "Ann"}},
    {"text": "look", "files": [{"type": "photo", "url": "@/files/cat.jpg"}]},
    {"files": [{"type": "video", "url": "@/files/film.mp4"}]},
    {"files": [{"type": "document", "url": "@/files/bill.pdf"}]},
    {"files": [{"type": "sticker", "id": "46105"}]},
]
OF_VK = [{"text": "menu", "name": "menu"}, {"edit": "menu", "text": "other"}, {"delete": "menu"},
         {"text": "answer", "quote": True, "no_preview": True}]

calls, errors = [], []


class Platforms(http.server.BaseHTTPRequestHandler):
    """Takes all calls."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b"the bytes of a file", "application/octet-stream")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        method = self.path.split("?")[0].rsplit("/", 1)[1]
        if self.path.startswith("/upload/"):
            return self.reply({"server": 1, "photo": "[1]", "hash": "h", "file": "f"})
        if self.path.startswith("/method/"):
            form = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
            calls.append(("vk", method, form))
            return self.reply({"response": self.vk(method)})
        if self.path.startswith("/pa/"):
            calls.append(("viber", method, json.loads(body)))
        return self.reply({"status": 0, "status_message": "ok", "message_token": len(calls)})

    def vk(self, method):
        here = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "messages.send": [{"peer_id": 7, "message_id": 1, "conversation_message_id": len(calls)}],
            "photos.getMessagesUploadServer": {"upload_url": here + "/upload/photo"},
            "docs.getMessagesUploadServer": {"upload_url": here + "/upload/file"},
            "photos.saveMessagesPhoto": [{"id": 5, "owner_id": -1}],
            "docs.save": {"type": "doc", "doc": {"id": 5, "owner_id": -1}},
            "groups.getById": {"groups": [{"id": 1, "name": "x"}]},
        }.get(method, 1)

    def reply(self, value):
        self.answer(json.dumps(value).encode(), "application/json")

    def answer(self, body, media_type):
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def judge_viber(message):
    """Whether viberbot reads all of it, and finds nothing missing."""
    from viberbot.api import messages
    classes = {
        "text": messages.TextMessage, "picture": messages.PictureMessage,
        "video": messages.VideoMessage, "file": messages.FileMessage,
        "location": messages.LocationMessage, "contact": messages.ContactMessage,
        "sticker": messages.StickerMessage,
    }
    judged = classes[message["type"]]().from_dict(message)
    if not judged.validate():
        errors.append(f"viberbot finds this incomplete: {message}")
    written = judged.to_dict()
    for name in set(message) - {"receiver", "sender", "keyboard"}:
        read = written.get(name)
        if isinstance(read, dict):
            read = {key: value for key, value in read.items() if value is not None}
        if read != message[name]:
            errors.append(f"viberbot reads {name!r} as {written.get(name)!r}: {message}")


def judge_vk(method, form):
    """Whether vkbottle's method has these fields, and its keyboard these buttons."""
    from vkbottle_types.methods import docs, messages, photos
    group, name = method.split(".")
    category = {"messages": messages.MessagesCategory, "photos": photos.PhotosCategory,
                "docs": docs.DocsCategory}.get(group)
    if category is None:
        return
    snake = "".join("_" + c.lower() if c.isupper() else c for c in name)
    known = set(inspect.signature(getattr(category, snake)).parameters) | VK_KNOWN
    for field in set(form) - known:
        errors.append(f"vkbottle's {method} has no field {field!r}")
    keyboard = json.loads(form.get("keyboard", "null"))
    for button in (b for row in (keyboard or {}).get("buttons", []) for b in row):
        action = dict(button["action"])
        kinds = {"text": "Text", "callback": "Callback", "open_link": "OpenLink", "location": "Location"}
        from vkbottle.tools.keyboard import action as actions
        fields = {k: v for k, v in action.items() if k != "type"}
        if getattr(actions, kinds[action["type"]])(**fields).get_data() != action:
            errors.append(f"vkbottle's action is another one: {action}")
    if "event_data" in form:
        from vkbottle.tools.event_data import ShowSnackbarEvent
        shown = json.loads(form["event_data"])
        if json.loads(ShowSnackbarEvent(text=shown["text"]).model_dump_json()) != shown:
            errors.append(f"vkbottle shows this otherwise: {shown}")
    if "format_data" in form:
        from vkbottle.tools.formatting import bold, url
        ours = json.loads(form["format_data"])
        theirs = (bold("bold") + " " + url("page", href="https://example.org")).as_data()
        order = lambda data: sorted(data["items"], key=lambda item: item["offset"])
        if ours["version"] != theirs["version"] or order(ours) != order(theirs):
            errors.append(f"vkbottle formats this otherwise: {ours} and {theirs}")


def post(port, path, body, headers):
    body = json.dumps(body).encode()
    if path == "/viber":
        headers = {"x-viber-content-signature": hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    return urllib.request.urlopen(request, timeout=PATIENCE).read()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Platforms)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    said = json.loads(json.dumps(SAID).replace("@/", here + "/"))
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, TURNKEY_VIBER_TOKEN=TOKEN, TURNKEY_VK_TOKEN=TOKEN,
                   TURNKEY_VK_SECRET=SECRET, TURNKEY_VK_CONFIRMATION="c")
        log = open(os.path.join(folder, "log"), "w+")
        bot = subprocess.Popen(
            [os.path.abspath(sys.argv[1]), "run", "--storage", "sqlite:bot.db", "--port", "0", "--updater", "webhooks",
             "--viber-sender", "Bot", "--viber-api-url", here, "--vk-api-url", here],
            cwd=folder, env=env, stderr=log, stdout=log)
        try:
            port = None
            ends = time.monotonic() + PATIENCE
            while port is None and time.monotonic() < ends:
                time.sleep(0.1)
                for line in open(log.name):
                    if "on http://localhost:" in line:
                        port = int(line.split("on http://localhost:")[1].split()[0].rstrip("/"))
            if port is None:
                sys.exit("the bot does not start:\n" + open(log.name).read())
            text = {"type": "text", "text": "do " + json.dumps(said)}
            post(port, "/viber", {"event": "message", "message_token": 1, "timestamp": 1,
                                  "sender": {"id": "u"}, "message": text}, {})
            def to_vk(n, replies):
                message = {"from_id": 7, "peer_id": 7, "conversation_message_id": 5, "text": "do " + json.dumps(replies)}
                post(port, "/vk", {"type": "message_new", "event_id": f"e{n}", "group_id": 1,
                                   "secret": SECRET, "object": {"message": message}}, {})
            to_vk(1, said)
            to_vk(2, OF_VK)
            press = {"user_id": 7, "peer_id": 7, "event_id": "ticket", "conversation_message_id": 5,
                     "payload": {"button": 'do [{"toast":"Saved"}]'}}
            post(port, "/vk", {"type": "message_event", "event_id": "e3", "group_id": 1,
                               "secret": SECRET, "object": press}, {})
            wanted = 10 + 15 + 4 + 1
            ends = time.monotonic() + PATIENCE
            while len([c for c in calls if "groups" not in c[1]]) < wanted and time.monotonic() < ends:
                time.sleep(0.1)
        finally:
            bot.terminate()
            bot.wait()
        told = open(log.name).read()
    for platform, method, body in calls:
        if platform == "vk":
            judge_vk(method, body)
        elif method == "send_message":
            judge_viber(body)
    kinds = sorted({f"{platform} {method}" for platform, method, _ in calls})
    print(f"{len(calls)} calls judged: {', '.join(kinds)}")
    if len([c for c in calls if "groups" not in c[1]]) < wanted:
        errors.append(f"{len(calls)} calls came, {wanted} were to come; the bot says:\n{told}")
    for error in errors:
        print(error)
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
