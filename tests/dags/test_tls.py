"""Encrypted connections to services whose certificates are by an authority of the operator's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import close_session

from datasets_server.checks import Finding, check_all
from dev.local_stack.certificates import Certificate, new_certificate
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, S3Server
from include.databases.mongo import MAINTENANCE_DATABASE
from tests.dags.conftest import BUCKET, RunDag, set_connection, set_variable

PASSWORD = "a-very-secret-password"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return new_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority of another certificate."""
    return new_certificate(tmp_path_factory.mktemp("other-certificate")).ca_file


@pytest.fixture(scope="module")
def tls_mongod(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Mongod]:
    folder = tmp_path_factory.mktemp("mongod-with-tls")
    auth = ("maintainer", PASSWORD)
    with Mongod(folder, cache_gigabytes=0.25, auth=auth, certificate=certificate) as mongod:
        yield mongod


@pytest.fixture(scope="module")
def tls_s3(certificate: Certificate) -> Iterator[S3Server]:
    with S3Server(certificate=certificate) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def tls_hub(certificate: Certificate) -> Iterator[HubServer]:
    close_session()  # The next request reads the trusted certificates.
    with HubServer(certificate=certificate) as server:
        yield server
        close_session()  # An open connection over https would keep the server from stopping.


@dataclass(frozen=True, slots=True)
class Services:
    """The services, and how to trust them."""

    monkeypatch: pytest.MonkeyPatch
    mongod: Mongod
    s3: S3Server
    hub: HubServer

    def connect(self, ca_file: Path | None) -> None:
        """Set the Connections; without a file, they trust the public authorities."""
        tls = {"tlsCAFile": str(ca_file)} if ca_file else {}
        options = {"directConnection": True, "serverSelectionTimeoutMS": 2_000, "tls": True}
        self._set_mongo(options | tls)
        verify = {"verify": str(ca_file)} if ca_file else {}
        set_connection(
            self.monkeypatch,
            "datasets_server_s3",
            conn_type="aws",
            login=ACCESS_KEY_ID,
            password=SECRET_ACCESS_KEY,
            extra={"endpoint_url": self.s3.endpoint_url, "region_name": REGION, **verify},
        )
        set_connection(
            self.monkeypatch, "huggingface_hub", conn_type="generic", host=self.hub.url, password="hf_token"
        )
        if ca_file:
            self.monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        else:
            self.monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    def connect_to_mongod_in_the_clear(self) -> None:
        self._set_mongo({"directConnection": True, "serverSelectionTimeoutMS": 500})

    def _set_mongo(self, extra: dict[str, Any]) -> None:
        for conn_id in ("datasets_server_cache", "datasets_server_queue"):
            set_connection(
                self.monkeypatch,
                conn_id,
                conn_type="mongo",
                host=self.mongod.host,
                port=self.mongod.port,
                login="maintainer",
                password=PASSWORD,
                extra=extra,
            )


@pytest.fixture
def services(
    airflow_database: None,
    monkeypatch: pytest.MonkeyPatch,
    tls_mongod: Mongod,
    tls_s3: S3Server,
    tls_hub: HubServer,
    tmp_path: Path,
) -> Services:
    (tmp_path / "assets").mkdir()
    set_variable(monkeypatch, "datasets_server_assets_storage_root", str(tmp_path / "assets"))
    set_variable(monkeypatch, "datasets_server_cached_assets_storage_protocol", "s3")
    set_variable(monkeypatch, "datasets_server_cached_assets_storage_root", f"{BUCKET}/cached-assets")
    set_variable(monkeypatch, "datasets_server_archive_storage_root", str(tmp_path / "removed-datasets"))
    return Services(monkeypatch, tls_mongod, tls_s3, tls_hub)


def failing() -> dict[str, Finding]:
    """What check-connections would have fixed, by subject."""
    return {finding.subject: finding for finding in check_all() if finding.fix}


ENCRYPTED = {
    "Connection datasets_server_cache",
    f"Connection datasets_server_cache, database {MAINTENANCE_DATABASE}",
    "Connection datasets_server_queue",
    f"Connection datasets_server_queue, database {MAINTENANCE_DATABASE}",
    "Connection huggingface_hub",
    f"Connection datasets_server_s3, cached assets at s3://{BUCKET}/cached-assets",
}


def test_a_dag_reaches_all_services_with_a_ca_of_ones_own(
    services: Services, certificate: Certificate, run_dag: RunDag
) -> None:
    services.connect(certificate.ca_file)

    assert failing() == {}
    assert run_dag("backfill").state == "success"


def test_no_service_is_trusted_without_its_ca(services: Services) -> None:
    services.connect(None)

    found = failing()

    assert found.keys() == ENCRYPTED
    assert all("certificate" in str(finding).lower() for finding in found.values())


@pytest.mark.slow_fault
def test_no_service_is_trusted_with_another_ca(services: Services, other_ca: Path) -> None:
    services.connect(other_ca)

    assert failing().keys() == ENCRYPTED


def test_a_mongodb_that_requires_tls_is_not_reached_without_it(
    services: Services, certificate: Certificate
) -> None:
    services.connect(certificate.ca_file)
    services.connect_to_mongod_in_the_clear()

    found = failing()

    assert len(found) == 4
    assert all("cannot be reached" in str(finding) for finding in found.values())
