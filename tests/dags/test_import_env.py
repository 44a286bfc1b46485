# ruff: noqa: AIR311 - these tests look into Airflow's database
"""The import of the environment variables of the CronJob into Connections and Variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.models import Connection, Pool, Variable
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from datasets_server import settings
from datasets_server.hooks.databases import CACHE_CONNECTION, QUEUE_CONNECTION
from datasets_server.import_env.__main__ import main
from datasets_server.import_env.connections import Fields, mongo_fields
from datasets_server.import_env.env_file import parse_env
from datasets_server.import_env.notes import known_names
from include.errors import ConfigurationError

SECRETS = ("s3cr/et=", "hf_SECRETTOKEN", "abc=def==", "hf_BOTSECRET", "AKIDSECRET", "what-is-this")
FILE = """
# the backfill that ran until yesterday
export CACHE_MAINTENANCE_ACTION=backfill
CACHE_MONGO_URL="mongodb://main%40tainer:s3cr%2Fet=@a:27017,b:27018/?replicaSet=rs0"
CACHE_MONGO_DATABASE=cache
QUEUE_MONGO_URL=mongodb+srv://cluster.example.com/jobs?retryWrites=true&maxPoolSize=50
COMMON_HF_TOKEN='hf_SECRETTOKEN'
COMMON_BLOCKED_DATASETS=a/b,c/*   # they asked for it
ASSETS_STORAGE_PROTOCOL=
ASSETS_BASE_URL=https://assets.example.com
S3_ACCESS_KEY_ID=AKIDSECRET
S3_SECRET_ACCESS_KEY=abc=def==
DISCUSSIONS_BOT_ASSOCIATED_USER_NAME=parquet-bot
DISCUSSIONS_BOT_TOKEN=hf_BOTSECRET
LOG_LEVEL=DEBUG
MONGO_PASSWORD_OF_OLD=what-is-this
"""
#: As the documentation of datasets-server lists them.
ENVIRONMENT_VARIABLES = {
    *("CACHE_MAINTENANCE_ACTION", "CACHE_MONGO_URL", "CACHE_MONGO_DATABASE", "QUEUE_MONGO_URL"),
    *("QUEUE_MONGO_DATABASE", "COMMON_BLOCKED_DATASETS", "COMMON_HF_ENDPOINT", "COMMON_HF_TOKEN"),
    *("ASSETS_STORAGE_PROTOCOL", "ASSETS_STORAGE_ROOT", "ASSETS_BASE_URL", "CACHED_ASSETS_STORAGE_PROTOCOL"),
    *("CACHED_ASSETS_STORAGE_ROOT", "CACHED_ASSETS_BASE_URL", "S3_REGION_NAME", "S3_ACCESS_KEY_ID"),
    *("S3_SECRET_ACCESS_KEY", "DIRECTORY_CLEANING_CACHE_DIRECTORY", "DIRECTORY_CLEANING_SUBFOLDER_PATTERN"),
    *("DIRECTORY_CLEANING_EXPIRED_TIME_INTERVAL_SECONDS", "DISCUSSIONS_BOT_ASSOCIATED_USER_NAME"),
    *("DISCUSSIONS_BOT_TOKEN", "DISCUSSIONS_PARQUET_REVISION", "LOG_LEVEL", "S3_USE_IRSA"),
}


@pytest.fixture(autouse=True)
def empty_airflow(airflow_database: None) -> Iterator[None]:
    yield
    with create_session() as session:
        ids = [spec.id for spec in settings.CONNECTIONS]
        session.execute(delete(Connection).where(Connection.conn_id.in_(ids)))
        session.execute(delete(Variable).where(Variable.key.startswith(settings.PREFIX)))
        session.execute(delete(Pool).where(Pool.pool == settings.POOL))


def import_file(tmp_path: Path, text: str, *options: str) -> int:
    path = tmp_path / "cronjob.env"
    path.write_text(text)
    return main([str(path), *options])


def connection(conn_id: str) -> Fields | None:
    with create_session() as session:
        found = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        return Fields.of(found) if found else None


def variable(name: str) -> str | None:
    with create_session() as session:
        found = session.scalar(select(Variable).where(Variable.key == settings.PREFIX + name))
        return found.val if found else None


def statuses(output: str) -> set[str]:
    return set(re.findall(r"^(\w+) +(?:Connection|Variable|Pool) ", output, re.MULTILINE))


def test_a_file_becomes_connections_and_variables(tmp_path: Path) -> None:
    assert import_file(tmp_path, FILE, "--yes") == 0

    hosts = "a:27017,b:27018"
    assert connection(CACHE_CONNECTION) == Fields(
        hosts, None, "main@tainer", "s3cr/et=", "cache", {"replicaSet": "rs0"}
    )
    options = {"retryWrites": True, "maxPoolSize": 50, "srv": True}
    assert connection(QUEUE_CONNECTION) == Fields("cluster.example.com", schema="jobs", extra=options)
    assert connection("huggingface_hub") == Fields("https://huggingface.co", password="hf_SECRETTOKEN")
    assert connection("huggingface_hub_bot") == Fields(login="parquet-bot", password="hf_BOTSECRET")
    assert connection("datasets_server_s3") == Fields(
        login="AKIDSECRET", password="abc=def==", extra={"region_name": "us-east-1"}
    )
    assert variable("common_blocked_datasets") == "a/b,c/*"
    assert variable("assets_storage_protocol") == "file"
    assert variable("assets_base_url") == "https://assets.example.com"


def test_the_output_shows_the_changes_and_masks_the_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_file(tmp_path, FILE, "--yes")

    output = capsys.readouterr().out
    assert statuses(output) == {"new"}
    assert "Connection huggingface_hub (generic): host https://huggingface.co, password ***\n" in output
    assert "Unknown, not set: MONGO_PASSWORD_OF_OLD." in output
    assert "Not set: LOG_LEVEL (Airflow's option logging_level" in output
    assert not [secret for secret in SECRETS if secret in output]


def test_a_second_import_has_nothing_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_file(tmp_path, FILE, "--yes")
    capsys.readouterr()

    assert import_file(tmp_path, FILE) == 0

    output = capsys.readouterr().out
    assert statuses(output) == {"same"}
    assert "There is nothing to set." in output


def pool_slots() -> int | None:
    with create_session() as session:
        found = Pool.get_pool(settings.POOL, session=session)
        return found.slots if found else None


def test_a_missing_pool_is_created(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_file(tmp_path, "COMMON_HF_TOKEN=hf_SECRETTOKEN", "--yes")

    assert "new      Pool datasets_server: 4 slots\n" in capsys.readouterr().out
    assert pool_slots() == 4


def test_an_existing_pool_keeps_its_slots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with create_session() as session:
        Pool.create_or_update_pool(settings.POOL, 9, "ours", include_deferred=False, session=session)

    import_file(tmp_path, "COMMON_HF_TOKEN=hf_SECRETTOKEN", "--yes")

    assert "Pool" not in capsys.readouterr().out
    assert pool_slots() == 9


def test_fields_that_the_file_does_not_mention_stay_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_file(tmp_path, FILE, "--yes")
    capsys.readouterr()

    import_file(tmp_path, "COMMON_HF_TOKEN=hf_renewed\nS3_REGION_NAME=eu-west-1", "--yes")

    output = capsys.readouterr().out
    assert "password *** [changes password]" in output
    assert "[changes extra]" in output
    assert connection("huggingface_hub") == Fields("https://huggingface.co", password="hf_renewed")
    s3 = connection("datasets_server_s3")
    assert s3 == Fields(login="AKIDSECRET", password="abc=def==", extra={"region_name": "eu-west-1"})


def test_an_empty_token_replaces_the_present_one(tmp_path: Path) -> None:
    import_file(tmp_path, FILE, "--yes")

    import_file(tmp_path, "COMMON_HF_TOKEN=", "--yes")

    assert connection("huggingface_hub") == Fields("https://huggingface.co")


@pytest.mark.parametrize("before", ["", "S3_ACCESS_KEY_ID=AKIDSECRET\nS3_SECRET_ACCESS_KEY=abc=def=="])
@pytest.mark.parametrize("keys", ["", "\nS3_ACCESS_KEY_ID=AKIDSECRET\nS3_SECRET_ACCESS_KEY=abc=def=="])
@pytest.mark.parametrize("text", ["true", "True", "1"])
def test_with_irsa_the_connection_has_no_keys(tmp_path: Path, before: str, keys: str, text: str) -> None:
    import_file(tmp_path, before, "--yes")

    import_file(tmp_path, f"S3_USE_IRSA={text}{keys}", "--yes")

    assert connection("datasets_server_s3") == Fields(extra={"region_name": "us-east-1"})


@pytest.mark.parametrize("text", ["false", "0", ""])
def test_without_irsa_the_keys_stay(tmp_path: Path, text: str) -> None:
    import_file(tmp_path, FILE, "--yes")

    import_file(tmp_path, f"S3_USE_IRSA={text}", "--yes")

    s3 = connection("datasets_server_s3")
    assert s3 == Fields(login="AKIDSECRET", password="abc=def==", extra={"region_name": "us-east-1"})


def test_irsa_that_is_neither_true_nor_false_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_file(tmp_path, "S3_USE_IRSA=maybe", "--yes") == 1

    assert "S3_USE_IRSA is 'maybe': it may be true or false." in capsys.readouterr().out


DIRECTORY = """
DIRECTORY_CLEANING_CACHE_DIRECTORY=/storage/duckdb-index
DIRECTORY_CLEANING_SUBFOLDER_PATTERN=cache/*
DIRECTORY_CLEANING_EXPIRED_TIME_INTERVAL_SECONDS=259200
"""
IMPORTED = {
    "name": "imported",
    "directory": "/storage/duckdb-index",
    "pattern": "cache/*",
    "expired_time_interval_seconds": 259_200,
}


def test_the_directory_to_clean_becomes_an_entry_of_the_variable(tmp_path: Path) -> None:
    import_file(tmp_path, DIRECTORY, "--yes")

    assert json.loads(str(variable("directory_cleaning"))) == [IMPORTED]


def test_other_directories_of_the_variable_stay_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"name": "stats-cache", "directory": "/storage/stats-cache"}
    Variable.set("datasets_server_directory_cleaning", json.dumps([other, IMPORTED | {"pattern": "*"}]))

    import_file(tmp_path, DIRECTORY, "--yes")
    import_file(tmp_path, DIRECTORY, "--yes")

    assert json.loads(str(variable("directory_cleaning"))) == [other, IMPORTED]
    assert "There is nothing to set." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "present", "message"),
    [
        ("DIRECTORY_CLEANING_SUBFOLDER_PATTERN=*", "[]", "also requires DIRECTORY_CLEANING_CACHE_DIRECTORY"),
        (DIRECTORY.replace("/storage/", "/etc/"), "[]", "directory '/etc/duckdb-index' is not cleaned"),
        (DIRECTORY.replace("259200", "3 days"), "[]", "must be a whole number of 0 or more, not '3 days'"),
        (DIRECTORY, "nothing", "datasets_server_directory_cleaning holds 'nothing'. It may hold a JSON list"),
    ],
)
def test_an_invalid_directory_to_clean_is_an_error_and_sets_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, present: str, message: str
) -> None:
    Variable.set("datasets_server_directory_cleaning", present)

    assert import_file(tmp_path, text, "--yes") == 1

    assert message in capsys.readouterr().out
    assert variable("directory_cleaning") == present


@pytest.mark.parametrize("answer", ["n", "", None])
def test_without_a_confirmation_nothing_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    def reply(_: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reply)

    assert import_file(tmp_path, FILE) == 1

    assert connection(CACHE_CONNECTION) is None
    assert variable("common_blocked_datasets") is None


def test_every_invalid_value_is_reported_and_nothing_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
CACHE_MONGO_URL=mongodb://user:s3cr/et=@host
COMMON_HF_ENDPOINT=ftp://hub
COMMON_HF_TOKEN=hf_SECRETTOKEN
ASSETS_STORAGE_PROTOCOL=ftp
"""
    assert import_file(tmp_path, text, "--yes") == 1

    output = capsys.readouterr().out
    assert "CACHE_MONGO_URL is not a valid MongoDB URI" in output
    assert "huggingface_hub has the host 'ftp://hub'" in output
    assert "datasets_server_assets_storage_protocol holds 'ftp'. It may hold file or s3." in output
    assert not [secret for secret in ("s3cr", *SECRETS) if secret in output]
    assert connection("huggingface_hub") is None


def test_a_required_connection_that_is_missing_in_file_and_airflow_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_file(tmp_path, "CACHE_MONGO_DATABASE=cache", "--yes")

    output = capsys.readouterr().out
    assert "Missing: the Connection huggingface_hub" in output
    assert "Missing: the Connection datasets_server_queue" in output
    assert "datasets_server_s3" not in output
    assert connection(CACHE_CONNECTION) == Fields("localhost", 27017, schema="cache")


@pytest.mark.parametrize("line", ["CACHE_MONGO_URL=mongodb://mongo:27017", "CACHE_MONGO_DATABASE="])
def test_without_a_database_the_connection_has_no_schema_so_that_the_release_tells_it(
    tmp_path: Path, line: str
) -> None:
    import_file(tmp_path, line, "--yes")

    cache = connection(CACHE_CONNECTION)
    assert cache is not None
    assert cache.schema is None


def test_a_connection_in_the_environment_of_airflow_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HUGGINGFACE_HUB", "generic://hub.example.com")

    import_file(tmp_path, "COMMON_HF_TOKEN=hf_SECRETTOKEN", "--yes")

    assert "Hidden: AIRFLOW_CONN_HUGGINGFACE_HUB" in capsys.readouterr().out


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing.env")]) == 1
    assert "It cannot be read: No such file or directory." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A = b ", "b"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b#c", "b#c"),
        ("A=b  # c", "b"),
        ("A=b=c==", "b=c=="),
        ("A='b # c'  # d", "b # c"),
        ('A="b # c"', "b # c"),
        (r'A="say \"b\"\n\\"', 'say "b"\n\\'),
        (r"A='b\n'", r"b\n"),
        ("A=it's", "it's"),
        ("A=1\r\nA=2\r\n", "2"),
        ("\ufeffA=b", "b"),
        ("# A=c\n\nA=b", "b"),
        ("A='b\nc'", "b\nc"),
    ],
)
def test_a_line_is_read_as_python_dotenv_reads_it(line: str, value: str) -> None:
    assert parse_env(line) == {"A": value}


@pytest.mark.parametrize("bad", ["what is this", "1A=b", "A='b", 'A="b', "A='b' c", "=b", "A-B=c"])
def test_a_line_that_cannot_be_read_is_reported_by_its_number_alone(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="Line 3 cannot be read") as e:
        parse_env(f"A=1\n\n{bad}\nB=2")
    assert bad not in str(e.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B=b\nA=${B}", "b"),
        ("B=b\nA='x${B}y${B}'", "xbyb"),
        ("A=${B:-c}", "c"),
        ("A=x${B:-}y", "xy"),
        ("B=b\nA=${B:-c}", "b"),
        ("B=\nA=${B:-c}", ""),
        ("C=c\nB=${C}\nA=${B}", "c"),
        ("A=a\nA=${A}:b", "a:b"),
        ("B=b\nA=$B", "$B"),
    ],
)
def test_a_reference_is_expanded_from_the_lines_above_it(text: str, value: str) -> None:
    assert parse_env(text)["A"] == value


@pytest.mark.parametrize("text", ["A=${B}", "A=${B}\nB=b", "A=s3cr${et}", "B=b\nA=${B}${C}"])
def test_a_reference_to_an_unknown_variable_is_reported_by_its_line_alone(text: str) -> None:
    number = text.split("A=")[0].count("\n") + 1

    with pytest.raises(ConfigurationError, match=f"^Line {number} refers to a variable") as e:
        parse_env(text)
    assert "s3cr" not in str(e.value)


def test_a_reference_is_not_expanded_from_the_environment_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B", "of this process")

    with pytest.raises(ConfigurationError, match="Line 1 refers to a variable"):
        parse_env("A=${B}")
    assert parse_env("A=${B:-c}") == {"A": "c"}


def test_every_bad_line_is_reported() -> None:
    with pytest.raises(ConfigurationError) as e:
        parse_env("what is this\nA=${B}\n\n\nC")

    assert [line.split(":")[0] for line in str(e.value).splitlines()] == [
        "Line 1 cannot be read",
        "Line 2 refers to a variable that no line above it sets",
        "Line 5 cannot be read",
    ]


def test_a_reference_in_a_uri_is_expanded(tmp_path: Path) -> None:
    text = (
        "MONGO_PASSWORD=s3cret\nCACHE_MONGO_URL=mongodb://maintainer:${MONGO_PASSWORD}@${MONGO_HOST:-mongo}"
    )

    import_file(tmp_path, text, "--yes")

    fields = Fields("mongo", None, "maintainer", "s3cret")
    assert connection(CACHE_CONNECTION) == fields


@pytest.mark.parametrize(
    ("uri", "fields"),
    [
        ("mongodb://localhost", Fields("localhost")),
        ("mongodb://localhost:27018/", Fields("localhost", 27018)),
        ("mongodb://[::1]:27017", Fields("[::1]", 27017)),
        ("mongodb://u:p@h:1/db", Fields("h", 1, "u", "p", "db", {"authSource": "db"})),
        ("mongodb://u:p@h:1/db?authsource=users", Fields("h", 1, "u", "p", "db", {"authSource": "users"})),
        ("mongodb://u%3A:p%40@h:1", Fields("h", 1, "u:", "p@")),
        ("mongodb://a,b:2/?w=majority", Fields("a,b:2", extra={"w": "majority"})),
        ("mongodb+srv://u:p@c", Fields("c", None, "u", "p", None, {"srv": True})),
        (
            "mongodb://h/?readPreferenceTags=dc:a&readPreferenceTags=dc:b",
            Fields("h", extra={"readPreferenceTags": ["dc:a", "dc:b"]}),
        ),
    ],
)
def test_a_mongodb_uri_becomes_the_fields_of_a_connection(uri: str, fields: Fields) -> None:
    assert mongo_fields(uri) == fields


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:s3cr@host",
        "host:27017",
        "mongodb://",
        "mongodb://user:s3cr/et@host",
        "mongodb://user:s3cr@et@host",
        "mongodb://host:port",
        "mongodb://host/?maxPoolSize=many",
        "mongodb+srv://host:27017",
        "mongodb+srv://a,b",
    ],
)
def test_an_invalid_mongodb_uri_is_an_error_that_does_not_show_it(uri: str) -> None:
    with pytest.raises(ValueError, match="not a valid MongoDB URI: write one such as") as e:
        mongo_fields(uri)
    assert "s3cr" not in str(e.value)


def test_every_documented_environment_variable_is_known() -> None:
    assert known_names() == ENVIRONMENT_VARIABLES
