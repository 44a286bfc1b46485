"""An S3 server: moto's, as a process of its own. What it holds ends with it."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from dev.local_stack.ports import HOST, free_port, is_listening
from dev.local_stack.process import Server, ServerProcess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 (the server takes any)


class S3Server(Server):
    """An S3 server on 127.0.0.1, at ``endpoint_url``."""

    def __init__(self, port: int | None = None, *, log_file: Path | None = None) -> None:
        """Describe the server.

        :param port: a free one if not given.
        :param log_file: a file of the folder for temporary files if not given.
        """
        self.port = port or free_port()
        self._process = ServerProcess(
            "The S3 server",
            [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)],
            log_file=log_file or Path(tempfile.gettempdir()) / f"s3-server-{self.port}.log",
            is_ready=partial(is_listening, self.port),
        )

    @property
    def endpoint_url(self) -> str:
        """How clients reach it."""
        return f"http://{HOST}:{self.port}"

    def client(self) -> S3Client:
        """Make a boto3 client of it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )

    def create_bucket(self, name: str) -> None:
        """Create an empty bucket; one that is there stays as it is."""
        self.client().create_bucket(Bucket=name)

    def start(self) -> None:
        """Start it, and wait until it answers.

        :raises ServiceError: if it does not.
        """
        self._process.start()

    def stop(self) -> None:
        """Stop it; its objects are gone."""
        self._process.stop()
