"""docs/CLIENTS.md says what these tests ran: each client, its version, and the lines that its user writes."""

import known


def test_the_page_names_what_was_run():
    assert known.PAGE.read_text() == known.page(), "write it anew: tests/clients/known.py"


def test_each_client_is_run():
    tests = {file.name: file.read_text() for file in known.HERE.glob("*") if file.is_file()}
    for client in known.CLIENTS:
        if client.way == "python":
            assert f"def {client.run}(" in tests["others.py"], client
        elif client.way == "realtime.py":
            assert f"def {client.run}(" in tests["realtime.py"], client
        elif client.way in ("node", "rust"):
            assert f'one.way == "{client.way}"' in tests["test_others.py"], client
        else:
            assert client.way in tests, client
