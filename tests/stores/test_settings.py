"""Settings: file, variables and arguments in their order; what is wrong is one line that names the key and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import SettingsError
from stores.settings import Settings, load


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_file_everything_has_a_sane_default() -> None:
    settings = load()
    assert settings.data_dir == Path(".headrace")
    assert settings.log_dir == Path(".headrace/log")
    assert settings.knowledge.streams == ("documents",)


def test_arguments_go_before_variables_and_variables_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("headrace.toml").write_text('data_dir = "file"\n[embedding]\nthreads = 3\ncache_megabytes = 7\n')
    assert load().embedding.threads == 3
    monkeypatch.setenv("HEADRACE_EMBEDDING__THREADS", "2")
    settings = load(data_dir="argument")
    assert settings.embedding.threads == 2
    assert settings.embedding.cache_megabytes == 7
    assert settings.data_dir == Path("argument")


def test_folders_are_read_from_the_file() -> None:
    Path("headrace.toml").write_text('[[knowledge.folders]]\nname = "docs"\npath = "d"\naudience = ["staff"]\n')
    (folder,) = load().knowledge.folders
    assert (folder.name, folder.path, folder.audience) == ("docs", Path("d"), ("staff",))


def _databases(one: str, other: str, more: str = "") -> str:
    return "".join(
        f"[[capture.postgres]]\nname = '{name}'\ndsn = '{dsn}'\ntables = ['public.t']\n{more}\n"
        for name, dsn in (("a-b", one), ("a_b", other))
    )


def _servers(more: str) -> str:
    tables = more or "tables = ['d.t']"
    return "".join(f"[[capture.mysql]]\nname = '{name}'\nuser = 'u'\n{tables}\n" for name in ("one", "two"))


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("data_dri = 'x'", "data_dri", "did you mean 'data_dir'?"),
        ("[embedding]\nthread = 1", "embedding.thread", "did you mean 'threads'?"),
        ("[embedding]\nthreads = 'many'", "embedding.threads", "HEADRACE_EMBEDDING__THREADS"),
        ("[embedding]\nbackend = 'magic'", "embedding.backend", "headrace.toml"),
        ("[[knowledge.folders]]\nname = 'a'\npath = 'b'\ninclud = []", "knowledge.folders.0.includ", "'include'"),
        ("[[knowledge.folders]]\nname = 'A b'\npath = 'b'", "'A b'", "lower-case"),
        ("[[knowledge.folders]]\nname = 'documents'\npath = 'b'", "'documents'", "its own name"),
        ("not toml at all", "cannot be read", "headrace.toml"),
        ("[capture.postgres]\nname = 'a'", "capture.postgres", "[[…]]"),
        ("[log.kafka]\nservers = 'broker:9092'", "log.kafka.servers", "a list"),
        (_databases("host=a", "host=b", "stream = 's'"), "public.t comes onto the stream 's' from 'a-b'", "`stream`"),
        (_databases("host=a", "host=a"), "have one slot, headrace_a_b", "`slot`"),
        (_servers(""), "read one server under one number", "`server_id`"),
        (_servers("tables = ['d.t', 'd.t']"), "named twice", "headrace.toml"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_key_and_fix(text: str, key: str, fix: str) -> None:
    Path("headrace.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert key in str(caught.value)
    assert fix in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADRACE_DATADIR", "x", "did you mean 'HEADRACE_DATA_DIR'"),
        ("HEADRACE_EMBEDDING__THREAD", "1", "threads"),
        ("HEADRACE_KNOWLEDGE__FOLDERS", "{broken", "HEADRACE_"),
        ("HEADRACE_CONFIG", "absent.toml", "absent.toml"),
    ],
)
def test_a_wrong_variable_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_says_what_it_is_for() -> None:
    def undescribed(model: type[object], prefix: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]  # pydantic's own
            if hasattr(field.annotation, "model_fields"):
                found += undescribed(field.annotation, f"{prefix}{name}.")
            elif not field.description and name != "folders":
                found.append(prefix + name)
        return found

    assert undescribed(Settings, "") == []


def test_a_connection_string_in_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "headrace.toml"
    monkeypatch.setenv("HEADRACE_CONFIG", str(path))
    path.write_text('[rows]\nbackend = "postgres"\ndsn = "postgresql://ana:swordfish@db/x"\n')
    with pytest.raises(SettingsError, match="HEADRACE_ROWS__DSN") as caught:
        load()
    assert "swordfish" not in str(caught.value)


def test_a_connection_string_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_ROWS__DSN", "postgresql://ana:swordfish@db/x")
    assert "swordfish" not in repr(load())


def test_postgresql_needs_its_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_ROWS__BACKEND", "postgres")
    with pytest.raises(SettingsError, match="HEADRACE_ROWS__DSN"):
        load()


@pytest.mark.parametrize("name", ["Flights", "flights-1", "row_flights", "headrace_x", "1st", "a" * 64])
def test_what_cannot_name_a_live_table_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot name a table"):
        load(tables={"live": [{"name": name, "table": "flights"}]})


def test_a_misspelt_key_of_a_live_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "headrace.toml"
    monkeypatch.setenv("HEADRACE_CONFIG", str(path))
    path.write_text('[[tables.live]]\nname = "flights"\ntabel = "flights"\n')
    with pytest.raises(SettingsError, match="did you mean 'table'"):
        load()


def test_a_table_is_found_under_its_full_name_only() -> None:
    live = [
        {"name": "a", "table": "flights"},
        {"name": "b", "table": "public.flights"},
        {"name": "c", "table": "x", "source": "s"},
    ]
    tables = load(tables={"live": live}).tables
    found = [
        tables.live_of(*names) for names in (("s", "public.flights"), ("s", "other.flights"), ("s", "x"), ("t", "x"))
    ]
    assert [table.name if table else None for table in found] == ["b", None, "c", None]
