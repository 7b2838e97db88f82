"""A small HTTP service that the broker asks who may do what."""

import contextlib
import http.server
import socket
import threading
import urllib.parse


class Service:
    """Knows users, and asks `may` about everything else: a function of the path's last word and the fields."""

    def __init__(self, users, may=lambda what, fields: True):
        self.users, self.may = users, may
        self.asked = []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.answer(self.path, body.decode())

            def do_GET(self):
                path, _, query = self.path.partition("?")
                self.answer(path, query)

            def answer(self, path, fields):
                body = service.judge(path.rsplit("/", 1)[1], dict(urllib.parse.parse_qsl(fields))).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._connections = []
        accept = self._server.get_request

        def get_request():
            connection = accept()
            self._connections.append(connection[0])
            return connection

        self._server.get_request = get_request
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def judge(self, what, fields):
        self.asked.append((what, fields))
        if what == "user":
            known = fields["username"] in self.users and self.users[fields["username"]] == fields.get("password")
            return "allow management" if known else "deny"
        return "allow" if self.may(what, fields) else "deny"

    def count(self, what):
        return sum(asked == what for asked, _ in self.asked)

    def stop(self):
        """From here on nobody answers, not even on connections that are there."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def configuration(self, method="post"):
        paths = (f"auth_http.{what}_path = http://127.0.0.1:{self.port}/auth/{what}\n" for what in
                 ("user", "vhost", "resource", "topic"))
        return f"auth_http.http_method = {method}\n" + "".join(paths)
