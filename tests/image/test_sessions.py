# SPDX-License-Identifier: Apache-2.0
"""The sessions that the image itself opens run nothing that a user made, whatever databases and roles are set to."""

from __future__ import annotations

from typing import Any

import pytest

INIT = "/docker-entrypoint-initdb.d"
# What a restored dump may bring: functions that win over the built-in ones, settings, triggers of the database.
TRAP = """
CREATE FUNCTION {schema}.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.executed VALUES ('{name}', current_user); RETURN {value}; END $$;
"""
FUNCTIONS = (
    ("format", "VARIADIC text[]", "text", "'SELECT 1'"),
    ("string_to_array", "text, text", "text[]", "'{}'"),
    ("replace", "text, text, text", "text", "''"),
    ("current_setting", "text", "text", "''"),
    ("to_regnamespace", "text", "regnamespace", "NULL"),
)
PREPARE = (
    "CREATE ROLE mallory LOGIN;\n"
    "CREATE TABLE public.executed (what text, by name);\nGRANT ALL ON public.executed TO public;\n"
    "CREATE SCHEMA evil AUTHORIZATION mallory;\nSET ROLE mallory;\n"
    + "".join(
        TRAP.format(schema="evil", name=name, arguments=arguments, result=result, value=value)
        for name, arguments, result, value in FUNCTIONS
    )
    + "CREATE FUNCTION evil.equal(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';\n"
    "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);\n"
    "CREATE FUNCTION evil.caught() RETURNS event_trigger LANGUAGE plpgsql AS $$\n"
    "BEGIN INSERT INTO public.executed VALUES (tg_event, current_user); END $$;\nRESET ROLE;\n"
    "CREATE EVENT TRIGGER caught ON ddl_command_start EXECUTE FUNCTION evil.caught();\n"
    "CREATE EVENT TRIGGER logged_in ON login EXECUTE FUNCTION evil.caught();\n"
    "DELETE FROM executed;\n"
    "ALTER DATABASE {database} SET search_path = evil, pg_catalog, public;\n"
    "ALTER DATABASE {database} SET default_transaction_read_only = on;\n"
    "ALTER DATABASE {database} SET transaction_timeout = '1ms';\n"
    "ALTER DATABASE {database} SET role = mallory;\n"
    "ALTER DATABASE {database} SET local_preload_libraries = 'nosuch';\n"
)
PINNED = (
    "-c search_path=public -c local_preload_libraries= -c role=none -c event_triggers=off -c transaction_timeout=0"
    " -c default_transaction_read_only=off"
)


@pytest.fixture(scope="module")
def trapped(shared_container: Any) -> Any:
    files = {
        f"{INIT}/1.sql": "\\connect postgres\n" + PREPARE.replace("{database}", "postgres"),
        f"{INIT}/2.sql": PREPARE.replace("{database}", "shop").replace("CREATE ROLE mallory LOGIN;", ""),
    }
    return shared_container(env={"POSTGRES_DB": "shop"}, files=files)


def look(box: Any, database: str, statement: str) -> str:
    """Return the answer to a statement in a session that runs into none of the traps."""
    code, answer = box.run(
        "psql", "-XqAt", "-U", "postgres", "-d", database, "-c", statement, env={"PGOPTIONS": PINNED}
    )
    assert code == 0, answer
    return str(answer)


def test_the_traps_work(trapped: Any) -> None:
    """A session without pinned options does run into them, or the tests below would prove nothing."""
    options = "-c local_preload_libraries= -c transaction_timeout=0 -c default_transaction_read_only=off -c role=none"
    trapped.run("psql", "-Upostgres", "-dshop", "-c", "SELECT format('x')", env={"PGOPTIONS": options})
    assert set(look(trapped, "shop", "SELECT what FROM executed").splitlines()) == {"login", "format"}
    assert trapped.run("psql", "-Upostgres", "-dshop", "-c", "SELECT 1")[0] != 0
    look(trapped, "shop", "DELETE FROM executed")


def test_first_start_makes_the_extensions(trapped: Any) -> None:
    found = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_stat_statements'"
    assert look(trapped, "shop", found) == "public"


def test_nothing_of_the_owner_is_executed(trapped: Any) -> None:
    before = trapped.logs()
    code, message = trapped.run("aza-healthcheck")
    assert (code, message) == (0, "")
    assert "FATAL" not in trapped.logs().removeprefix(before), "the session was refused"
    for database in ("postgres", "shop"):
        assert look(trapped, database, "SELECT * FROM executed") == ""
