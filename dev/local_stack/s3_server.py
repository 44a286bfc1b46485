"""A local S3 server: moto, in a separate process. It keeps its objects only in memory."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from dev.local_stack.certificates import Certificate
from dev.local_stack.ports import HOST, free_port, is_listening
from dev.local_stack.process import Server, ServerProcess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 (the server takes any)


class S3Server(Server):
    """An S3 server on 127.0.0.1, at ``endpoint_url``."""

    def __init__(
        self,
        port: int | None = None,
        *,
        log_file: Path | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Describe the server.

        :param port: by default a free one.
        :param log_file: by default a file in the folder for temporary files.
        :param certificate: serve https with this certificate; by default, serve http.
        """
        self.port = port or free_port()
        self._certificate = certificate
        tls = ("-c", str(certificate.file), "-k", str(certificate.file)) if certificate else ()
        self._process = ServerProcess(
            "The S3 server",
            [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port), *tls],
            log_file=log_file or Path(tempfile.gettempdir()) / f"s3-server-{self.port}.log",
            is_ready=partial(is_listening, self.port),
        )

    @property
    def endpoint_url(self) -> str:
        """The URL for clients."""
        return f"{'https' if self._certificate else 'http'}://{HOST}:{self.port}"

    def client(self) -> S3Client:
        """Return a boto3 client of this server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            verify=str(self._certificate.ca_file) if self._certificate else None,
        )

    def create_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists."""
        self.client().create_bucket(Bucket=name)

    def start(self) -> None:
        """Start it, and wait until it answers.

        :raises ServiceError: if it does not.
        """
        self._process.start()

    def stop(self) -> None:
        """Stop it. Its objects are lost."""
        self._process.stop()
