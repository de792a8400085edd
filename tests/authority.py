"""Certificates for tests, made with the openssl command."""

from __future__ import annotations

import subprocess


class Authority:
    """Signs certificates; `days` may be negative for one that has expired."""

    def __init__(self, folder, name="test authority"):
        folder.mkdir()
        self._folder = folder
        self.file, self._key = folder / "ca.pem", folder / "ca.key"
        _openssl("req", "-x509", *_new_key(self._key), "-out", self.file, "-subj", f"/CN={name}", "-days", "30")

    def certify(self, name, *, subject="IP:127.0.0.1", is_expired=False):
        """Give the files of a certificate and of its key."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        _openssl("req", *_new_key(key), "-out", request, "-subj", f"/CN={name}")
        (self._folder / "ext").write_text(f"subjectAltName={subject}\n")
        begin, end = ("200101000000Z", "200201000000Z") if is_expired else ("200101000000Z", "490101000000Z")
        (self._folder / "index.txt").write_text("")
        (self._folder / "serial").write_text("01\n")
        (self._folder / "ca.cnf").write_text(_CA.format(folder=self._folder))
        _openssl(
            *("ca", "-batch", "-config", self._folder / "ca.cnf", "-cert", self.file, "-keyfile", self._key),
            *("-in", request, "-out", certificate, "-notext", "-startdate", begin, "-enddate", end),
            *("-extfile", self._folder / "ext"),
        )
        return certificate, key


_CA = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def _new_key(file):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file]


def _openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
