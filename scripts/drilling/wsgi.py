"""The same for WSGI servers."""
import time
from urllib.parse import parse_qs


def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(int(parse_qs(environ["QUERY_STRING"]).get("ms", ["50"])[0]) / 1000)
        body = b"slept"
    headers = [("Content-Length", str(len(body))), ("Content-Type", "text/plain")]
    start_response("200 OK", headers)
    return [body]
