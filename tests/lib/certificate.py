"""Certificates for servers of tests, made when they are needed."""

import os
import ssl
import subprocess


class Certificate:
    """One that is its own CA, in a directory of its own: ca.pem and key.pem."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "ca.pem")
        self.key = os.path.join(directory, "key.pem")

    def text(self):
        with open(self.path, encoding="ascii") as f:
            return f.read()

    def context(self):
        """What a server needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def make(directory, names):
    """Good for `names`: a subjectAltName of openssl, as "IP:127.0.0.1,DNS:localhost"."""
    os.makedirs(directory, exist_ok=True)
    made = Certificate(directory)
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={os.path.basename(directory)}", "-addext", f"subjectAltName={names}",
            "-keyout", made.key, "-out", made.path,
        ],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return made
