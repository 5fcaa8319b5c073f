"""Makes a self-signed certificate for DICOM over TLS with openssl; for tests and benchmarks only."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """Two PEM files."""

    key: Path
    certificate: Path

    @property
    def configuration(self) -> dict[str, Any]:
        """Orthanc's options for a DICOM server with this certificate, which asks clients for none (Orthanc 1.9.3)."""
        return {
            "DicomTlsEnabled": True,
            "DicomTlsPrivateKey": str(self.key),
            "DicomTlsCertificate": str(self.certificate),
            "DicomTlsTrustedCertificates": str(self.certificate),
            "DicomTlsRemoteCertificateRequired": False,
        }

    @property
    def storescu_arguments(self) -> list[str]:
        """Options of DCMTK's tools: no certificate of their own, and they trust only the server's."""
        return ["+tla", "+cf", str(self.certificate)]


def make(folder: Path) -> Certificate:
    """Makes both in `folder`, valid for a day.

    Raises:
        subprocess.CalledProcessError: openssl failed.
        FileNotFoundError: there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "dicom.key", folder / "dicom.crt")
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    words += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    return made
