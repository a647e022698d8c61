"""Password files: those of Debian's mosquitto_passwd are read by Midge, and those of `midge passwd` by mosquitto."""

import os
import pty
import re
import select
import socket
import stat
import subprocess
import time

import pytest

from processes import DEADLINE

MIDGE = os.environ["MIDGE_BIN"]
USERS = {"ann": "secret", "bob": "p:w$ö d", "o'neil": "x" * 200}


def command(*arguments, stdin=None):
    return subprocess.run(arguments, check=False, input=stdin, capture_output=True, text=True, timeout=DEADLINE)


def asks(address, user, password):
    """Whether a client of mosquitto's is let in."""
    host, port = address
    names = [] if user is None else ["-u", user]
    words = [] if password is None else ["-P", password]
    sent = command("mosquitto_pub", "-h", host, "-p", str(port), "-t", "t", "-m", "m", "-q", "1", *names, *words)
    refused = re.search(r"not authori[sz]ed|bad user name or password", sent.stderr, re.IGNORECASE)
    assert sent.returncode == 0 or refused, sent.stderr
    return sent.returncode == 0


def verdicts(address):
    """What becomes of each user with the right and with a wrong password, and of strangers."""
    allowed = {user: (asks(address, user, word), asks(address, user, word + "x")) for user, word in USERS.items()}
    strangers = [asks(address, "max", "secret"), asks(address, "ann", None), asks(address, None, None)]
    return allowed, strangers


EXPECTED = ({user: (True, False) for user in USERS}, [False, False, False])


@pytest.fixture
def start_mosquitto(run, tmp_path):
    """Starts a mosquitto with a password file; it has a free port."""

    def start(passwords):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = tmp_path / "mosquitto.conf"
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
        )
        process = run(["mosquitto", "-v", "-c", str(settings)])
        process.line_with("running")
        return "127.0.0.1", port

    return start


@pytest.mark.parametrize("method", ["sha512-pbkdf2", "sha512"])
def test_files_of_mosquitto_passwd_are_read(start_broker, tmp_path, method):
    file = tmp_path / "passwords"
    file.touch(0o600)
    for user, word in USERS.items():
        made = command("mosquitto_passwd", "-H", method, "-b", str(file), user, word)
        assert made.returncode == 0, made.stderr
    broker = start_broker({"access.password_file": file})
    assert verdicts((broker.host, broker.port)) == EXPECTED


def test_our_files_are_read_by_mosquitto(start_mosquitto, start_broker, tmp_path):
    file = tmp_path / "passwords"
    for number, (user, word) in enumerate(USERS.items()):
        create = ["-c"] if number == 0 else []
        made = command(MIDGE, "passwd", *create, "-b", "--hash", "sha512-pbkdf2", str(file), user, word)
        assert (made.returncode, made.stderr) == (0, "")
    assert verdicts(start_mosquitto(file)) == EXPECTED
    broker = start_broker({"access.password_file": file})
    assert verdicts((broker.host, broker.port)) == EXPECTED


def test_a_file_in_clear_text_is_upgraded_for_both(start_mosquitto, start_broker, tmp_path):
    file = tmp_path / "passwords"
    file.write_text("".join(f"{user}:{word}\n" for user, word in USERS.items()))
    assert command(MIDGE, "passwd", "-U", "-H", "sha512-pbkdf2", str(file)).returncode == 0
    assert verdicts(start_mosquitto(file)) == EXPECTED
    before = file.read_text()
    assert command(MIDGE, "passwd", "-U", str(file)).returncode == 0
    assert file.read_text() == before, "what is hashed stays as it is"


def test_a_user_without_a_password_is_let_in_by_neither(start_mosquitto, start_broker, tmp_path):
    file = tmp_path / "passwords"
    file.write_text("nobody:\n")
    file.chmod(0o600)
    broker = start_broker({"access.password_file": file})
    for address in (broker.host, broker.port), start_mosquitto(file):
        assert [asks(address, "nobody", word) for word in (None, "", "x")] == [False, False, False]


def test_a_terminal_shows_no_password(tmp_path):
    file = tmp_path / "passwords"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(MIDGE, [MIDGE, "passwd", "-c", "-H", "sha512-pbkdf2", str(file), "ann"])
    shown = b""
    end = time.monotonic() + DEADLINE

    def until(words):
        nonlocal shown
        while words not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    shown += os.read(terminal, 1000)
                except OSError:
                    return

    until(b"Password: ")
    os.write(terminal, b"secret\n")
    until(b"Password again: ")
    os.write(terminal, b"secret\n")
    until(b"a word that does not come")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert b"Password again: " in shown and b"secret" not in shown
    assert file.read_text().startswith("ann:$7$")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
