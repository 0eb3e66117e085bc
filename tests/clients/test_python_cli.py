"""The command `aether` itself: plug-ins, wrong use, and one sentence for whatever goes wrong."""

from __future__ import annotations

import hashlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from aether_client.cli import main as cli
from aether_client.cli.connect import UsageError, find_hub, read_container
from tests.clients.reference_harness import Aether, PeerProcess, contents, environment, noise, wait_for


@pytest.fixture(scope="module")
def peer_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    process = PeerProcess(tmp_path_factory.mktemp("peer"))
    yield process
    process.kill()


@pytest.fixture
def peer(peer_process: PeerProcess) -> PeerProcess:
    return peer_process.fresh()


def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> EntryPoint:
    """Make a module with this code importable; return an entry point that loads `app` from it."""
    (tmp_path / f"plug_in_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return EntryPoint(name, f"plug_in_{name}:app", cli.GROUP)


APP = """
import typer
app = typer.Typer()
@app.command()
def greet(): print("hello from a plug-in")
@app.command()
def fail(): raise {error}
"""


def run(monkeypatch: pytest.MonkeyPatch, plug_ins: list[EntryPoint], *words: str) -> int:
    monkeypatch.setattr(cli, "entry_points", lambda *, group: plug_ins if group == cli.GROUP else [])
    return cli.run(list(words))


def test_commands_of_the_hub_are_at_top_level_and_others_under_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_ins = [plug_in(tmp_path, monkeypatch, name, APP.format(error="ValueError")) for name in ("hub", "other")]
    assert run(monkeypatch, plug_ins, "greet") == 0
    assert run(monkeypatch, plug_ins, "other", "greet") == 0
    assert capsys.readouterr().out == "hello from a plug-in\n" * 2


@pytest.mark.parametrize("code", ["import nonsense_that_is_not_there", "app = 7", "raise SystemError('x')", "1 +"])
def test_a_plug_in_that_fails_is_a_sentence_and_the_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    good = plug_in(tmp_path, monkeypatch, "good", APP.format(error="ValueError"))
    bad = plug_in(tmp_path, monkeypatch, f"bad{abs(hash(code))}", code)
    assert run(monkeypatch, [bad, good], "good", "greet") == 0
    told = capsys.readouterr()
    assert told.out == "hello from a plug-in\n"
    (line,) = told.err.splitlines()
    assert f"The commands of {bad.name!r} cannot be loaded" in line


def test_our_own_commands_do_not_load_plug_ins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = plug_in(tmp_path, monkeypatch, "broken", "raise SystemError('x')")
    assert run(monkeypatch, [bad], "sync") == 2
    assert "broken" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("ValueError('odd')", "An unexpected fault: ValueError: odd."),
        ("OSError(28, 'No space left on device', 'x.db')", "x.db: No space left on device."),
        ("typer.BadParameter('no good')", "no good. See "),
    ],
)
def test_a_command_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: str, sentence: str
) -> None:
    entry = plug_in(tmp_path, monkeypatch, f"fails{abs(hash(error))}", APP.format(error=error))
    code = run(monkeypatch, [entry], entry.name, "fail")
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert code == (2 if "BadParameter" in error else 1)


def test_a_fault_shows_where_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plug_in(tmp_path, monkeypatch, "traced", APP.format(error="ValueError('odd')"))
    monkeypatch.setenv("AETHER_DEBUG", "1")
    assert run(monkeypatch, [entry], "traced", "fail") == 1
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_of_plug_ins_and_ctrl_c_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = plug_in(tmp_path, monkeypatch, "leaves", APP.format(error="typer.Exit(3)"))
    assert run(monkeypatch, [leaves], "leaves", "fail") == 3
    interrupted = plug_in(tmp_path, monkeypatch, "interrupted", APP.format(error="KeyboardInterrupt"))
    assert run(monkeypatch, [interrupted], "interrupted", "fail") == 130


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["sync"], ["sync", "--nope"], ["sync", "d", "--container", "event:x", "--verify-every", "0"],
     ["files", "put"], ["files", "nonsense"], ["sync", "d", "--container", "event:x", "--verify-every", "often"]],
)  # fmt: skip
def test_wrong_use_is_one_sentence_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(monkeypatch, [], *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("--help.")


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, [], "--version") == 0
    assert capsys.readouterr().out.startswith("aether 0.")


def test_the_socket_of_a_local_hub_is_the_default_unless_an_address_or_a_token_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(find_hub(None, None, None, None).address) == "http://127.0.0.1:8400"
    (tmp_path / "var").mkdir()
    (tmp_path / "var/hub.sock").touch()
    assert find_hub(None, None, None, None).address.unix == Path("var/hub.sock")
    assert find_hub(None, "token", None, None).address.unix is None
    assert find_hub("http://x:1", "token", tmp_path, "a").address.http == "http://x:1"
    assert find_hub(None, "token", tmp_path, "a").token is None
    with pytest.raises(UsageError):
        find_hub(None, None, tmp_path / "nowhere", None)
    with pytest.raises(UsageError):
        find_hub(None, "to\nken", None, None)


@pytest.mark.parametrize("text", ["", "event", "event:", ":x", "Event:x", "event:a/b", "event:a b", "event:x\n"])
def test_what_names_no_record_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_container(text)


def test_the_client_loads_nothing_of_the_hub() -> None:
    code = (
        "import sys, aether_client.cli.main, aether_client.sync.engine\n"
        "print(sorted({'hub', 'sqlalchemy', 'starlette', 'uvicorn', 'redis', 'storage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_file_is_put_listed_and_put_again(peer: PeerProcess, tmp_path: Path) -> None:
    source = tmp_path / "slides.pdf"
    source.write_bytes(noise(6 * 1024 * 1024))
    to, url = ("--to", "event:e1"), ("--url", peer.url)
    first = Aether(tmp_path, "files", "put", "slides.pdf", *to, *url)
    assert first.ends() == 0
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    assert f"slides.pdf is attached to event:e1 (6.3 MB, sha256 {sha256[:12]}…)." in first.text
    source.write_bytes(b"")
    assert Aether(tmp_path, "files", "put", "slides.pdf", *to, *url).ends() == 0
    assert Aether(tmp_path, "files", "put", "slides.pdf", *to, *url, "--name", "Ünï & co.pdf").ends() == 0
    peer.control(find_page=1)
    listing = Aether(tmp_path / "listing", "files", "list", "--of", "event:e1", *url)
    assert listing.ends() == 0
    empty = hashlib.sha256(b"").hexdigest()
    assert listing.text.splitlines() == [f"0\t{empty}\tslides.pdf", f"0\t{empty}\tÜnï & co.pdf"]


@pytest.mark.parametrize(
    ("words", "env", "sentence"),
    [
        (["missing", "--to", "event:e1"], {}, "There is no file missing."),
        ([".", "--to", "event:e1"], {}, ". is not a file."),
        (["aether.log", "--to", "e1"], {}, "'e1' names no record"),
        (["aether.log", "--to", "event:e1"], {"AETHER_TOKEN": "wrong"}, "Sign in first. (auth.required)"),
    ],
)
def test_a_put_that_cannot_be_done_is_one_sentence(
    peer: PeerProcess, tmp_path: Path, words: list[str], env: dict[str, str], sentence: str
) -> None:
    command = Aether(tmp_path, "files", "put", *words, "--url", peer.url, env=env)
    assert command.ends() == 1
    (line,) = command.text.splitlines()
    assert sentence in line


def test_a_put_waits_a_little_for_a_hub_and_then_says_so(peer: PeerProcess, tmp_path: Path) -> None:
    peer.kill()
    (tmp_path / "a").write_bytes(b"a")
    command = Aether(tmp_path, "files", "put", "a", "--to", "event:e1", "--url", peer.url)
    command.says("Trying again.")
    peer.start()
    assert command.ends() == 0


def test_a_name_cannot_steer_a_terminal_or_forge_a_line(peer: PeerProcess, tmp_path: Path) -> None:
    peer.put("\x1b[2Jred\nforged", b"x")
    listing = Aether(tmp_path, "files", "list", "--of", "event:e1", "--url", peer.url)
    assert listing.ends() == 0
    (line,) = listing.text.splitlines()
    assert line.endswith("\t\ufffd[2Jred\ufffdforged")


def test_a_secret_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    command = Aether(tmp_path, "files", "list", "--of", "event:e1", "--url", "http://h/?token=canary")
    assert command.ends() == 1
    assert "AETHER_TOKEN" in command.text
    assert "canary" not in command.text


def test_a_listing_whose_reader_has_gone_ends_quietly(peer: PeerProcess, tmp_path: Path) -> None:
    for n in range(50):
        peer.put(f"{n}.txt", b"x")
    words = [sys.executable, "-m", "aether_client", "files", "list", "--of", "event:e1", "--url", peer.url]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        words, env=environment(), cwd=tmp_path, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


def test_on_a_terminal_sync_draws_a_bar(peer: PeerProcess, tmp_path: Path) -> None:
    peer.put("big.bin", noise(6 * 1024 * 1024))
    peer.control(rate=6 * 1024 * 1024)
    ours, theirs = pty.openpty()
    words = ["sync", "--container", "event:e1", "--url", peer.url, "--once", str(tmp_path / "files")]
    env = {**environment(), "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m", "aether_client", *words], env=env, cwd=tmp_path, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen = bytearray()

    def read() -> bool:
        try:
            screen.extend(os.read(ours, 65536))
        except OSError:  # how a terminal says that nobody writes any more
            return True
        return False

    wait_for(read, "the end of sync")
    os.close(ours)
    assert process.wait(10) == 0
    text = screen.decode()
    assert "Fetching big.bin" in text
    assert "━" in text
    assert "is equal to event:e1" in text.replace("\r\n", "").replace("\n", "")
    assert list(contents(tmp_path / "files")) == ["big.bin"]
