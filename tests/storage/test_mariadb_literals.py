"""Rows that are written as text arrive as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.mariadb import literals
from storage.mariadb.connection import INIT
from tests.storage.mariadb_server import MariadbServer

COLUMNS = "t LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, i BIGINT, n DOUBLE, b BOOLEAN"
rows = st.tuples(
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(st.sampled_from("'\"\\%\0\n\r\x1a`;-#/*{}sd")),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.none() | st.booleans(),
)


@pytest.fixture(scope="module")
def cursor(mariadb: MariadbServer) -> Any:
    """Return a cursor in a session such as the hub's, with a table."""
    connection = mariadb.connect(mariadb.new_database())
    with connection, connection.cursor() as cursor:
        cursor.execute(INIT)
        cursor.execute(f"CREATE TABLE kept (at BIGINT PRIMARY KEY, {COLUMNS})")
        yield cursor


@example([("%s %% %(a)s", 0, 0.1, True)])
@given(st.lists(rows, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_what_is_read(cursor: Any, given_rows: list[tuple[Any, ...]]) -> None:
    cursor.execute("DELETE FROM kept")
    texts = ",".join(literals.row_text((at, *row)) for at, row in enumerate(given_rows))
    cursor.execute(f"INSERT INTO kept VALUES {texts}")
    cursor.execute("SELECT t, i, n, b FROM kept ORDER BY at")
    found = [(t, i, n, None if b is None else bool(b)) for t, i, n, b in cursor.fetchall()]
    assert found == given_rows


@pytest.mark.parametrize("value", [b"x", ["x"], {"x": 1}, 1j])
def test_a_value_that_no_column_holds_is_no_text(value: Any) -> None:
    with pytest.raises(KeyError):
        literals.row_text([value])


def test_rows_go_in_as_few_statements_as_a_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.run: list[str] = []

        def exec_driver_sql(self, sql: str, execution_options: dict[str, Any]) -> None:
            assert execution_options == {"no_parameters": True}
            self.run.append(sql)

    monkeypatch.setattr(literals, "BYTES", 20)
    for rows, expected in (
        ([], []),
        ([(1, "a"), (2, "b"), (3, "c")], ["I (1,'a'),(2,'b')", "I (3,'c')"]),
        ([(1, "x" * 50), (2, "b")], [f"I (1,'{'x' * 50}')", "I (2,'b')"]),
    ):
        recorder = Recorder()
        literals.insert_rows(recorder, "I", rows)  # type: ignore[arg-type]
        assert recorder.run == expected
