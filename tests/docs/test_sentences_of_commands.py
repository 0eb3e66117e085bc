"""What the commands say of what people mistype: one sentence, in one style, with the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from aether_client.cli import main as cli
from aether_client.errors import HubError as ClientError
from hub.cli.link import sentence_of
from hub.edge.server import ListenError, listen_tcp
from tests.docs.test_command_line import begun
from tests.forked import aether


@pytest.mark.parametrize("host", ["8.8.8.8", "300.1.1.1", "no.such.host.invalid"])
def test_a_host_that_is_not_ours_is_not_blamed_on_the_port(host: str) -> None:
    with pytest.raises(ListenError, match="Choose another --host") as refused:
        listen_tcp(host, 0)
    assert "--port" not in str(refused.value)


def test_a_port_that_is_taken_is_blamed_on_the_port() -> None:
    with listen_tcp("127.0.0.1", 0) as taken, pytest.raises(ListenError, match="Choose another --port"):
        listen_tcp("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("url", ["nonsense", "ftp://hub.example", "https://", "https://hub.example/?a", "/x/hub.sock"])
def test_a_link_is_made_for_an_address_of_a_page_only(tmp_path: Path, url: str) -> None:
    done = aether("signin-link", "--url", url, "--data", str(begun(tmp_path / "data")))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "aether: The --url of a page looks like https://hub.example, without a query or fragment.\n"


def test_a_folder_is_no_schedule(tmp_path: Path) -> None:
    done = aether("import", "conference", str(tmp_path), "--data", str(begun(tmp_path / "data")))
    assert f"{tmp_path} cannot be read: Is a directory. Name a schedule.json" in done.stderr


def test_a_refusal_of_the_hub_has_one_style_and_a_next_step() -> None:
    refusal = ClientError("record.not_found", "There is no such account.", path="account")
    told = "There is no such account. (record.not_found at account) Name another one with --account."
    assert sentence_of(refusal) == told
    assert sentence_of(ClientError("storage.full", "No room.")) == "No room. (storage.full)"


def test_a_hub_that_is_not_there_comes_with_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["files", "list", "--of", "event:x", "--url", "http://127.0.0.1:9", "--token", "x"]) == 1
    said = "No hub listens at http://127.0.0.1:9. (server.unavailable) Start it with `aether serve`, or name another"
    assert capsys.readouterr().err.startswith(said)


def test_a_mistyped_command_is_answered_with_one_mark_at_the_end_of_each_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["imprt"]) == 2
    said = capsys.readouterr().err
    assert "?." not in said
    assert ".." not in said
    assert said.endswith(" See aether --help.\n")
