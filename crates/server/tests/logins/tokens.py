"""Tokens signed with the key in `token_key.der`, and an HTTPS server that has the other half of it."""

import base64
import hashlib
import http.server
import json
import ssl
import threading
import time

# What the hash is put into to be signed: DigestInfo of SHA-256 (RFC 8017, section 9.2).
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value):
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Key:
    """An RSA key, read from PKCS #8."""

    def __init__(self, path):
        outer = elements(elements(path.read_bytes())[0])
        inner = elements(elements(outer[2])[0])
        self.modulus, self.public, self.private = (int.from_bytes(octets, "big") for octets in inner[1:4])

    def token(self, seconds, scope, **claims):
        """A token that expires in this many seconds."""
        claims = {"sub": "hazel", "aud": "rabbitmq", "exp": int(time.time()) + seconds, "scope": scope, **claims}
        header = {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        message = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        return f"{message}.{encode(self.sign(message.encode()))}"

    def sign(self, message):
        length = (self.modulus.bit_length() + 7) // 8
        digest = DIGEST_INFO + hashlib.sha256(message).digest()
        padded = b"\0\1" + b"\xff" * (length - len(digest) - 3) + b"\0" + digest
        return pow(int.from_bytes(padded, "big"), self.private, self.modulus).to_bytes(length, "big")

    def serve(self, folder):
        """Serves the public half on an HTTPS server with the certificate `broker.crt`; returns its URL."""
        keys = {"keys": [{"kty": "RSA", "kid": "k1", "n": number(self.modulus), "e": number(self.public)}]}
        body = json.dumps(keys).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "broker.crt", folder / "broker.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"https://localhost:{server.server_address[1]}/keys"


def elements(octets):
    """The contents of DER elements that stand one after the other."""
    found = []
    while octets:
        length, begin = octets[1], 2
        if length > 127:
            begin += length - 128
            length = int.from_bytes(octets[2:begin], "big")
        found.append(octets[begin : begin + length])
        octets = octets[begin + length :]
    return found
