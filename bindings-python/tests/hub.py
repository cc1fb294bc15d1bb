"""A Hub on this machine with one repository."""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "1" * 40


@contextlib.contextmanager
def hub(model: str, folder: Path, revisions=("main",)):
    """Serves the files of a folder as the repository `model`; gives the address and the paths that were asked for."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            listing = f"/api/models/{model}/revision/"
            content = f"/{model}/resolve/{COMMIT}/"
            if path.startswith(listing) and path.removeprefix(listing) in (*revisions, COMMIT):
                siblings = [self.described(name, content) for name, content in files.items()]
                self.answer(200, json.dumps({"id": model, "sha": COMMIT, "siblings": siblings}).encode())
            elif path.startswith(content) and path.removeprefix(content) in files:
                self.answer(200, files[path.removeprefix(content)])
            else:
                self.answer(404, b"not found")

        @staticmethod
        def described(name, content):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if not name.endswith(".bin"):
                return {"rfilename": name, "blobId": blob, "size": len(content)}
            large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            return {"rfilename": name, "blobId": blob, "size": len(content), "lfs": large}

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
