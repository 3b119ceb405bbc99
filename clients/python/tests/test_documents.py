"""What the README files say is run, as it stands."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server, socket
from time import sleep

import pytest
from service import PATIENCE, ROOT, Service

EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/*.py"))


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(6))
def test_the_blocks_of_the_readme_run(number: int, service: Service) -> None:
    code = blocks(ROOT / "clients" / "python" / "README.md", "python")
    assert len(code) == 6
    # Warnings are errors, as in the tests.
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[number]], env=service.environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    if "VersionConflictError" in code[number]:
        assert ran.stdout == "somebody was faster\n"


def test_there_are_examples() -> None:
    assert EXAMPLES == ["rate-limit", "sign-out-other-devices", "web-login"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_its_readme_says(name: str, tmp_path: Path) -> None:
    start, commands = blocks(ROOT / "examples" / name / "README.md", "sh")
    with Service() as service, example(start, service.environment) as port:
        script = ["set -euo pipefail"]
        expected = []
        for line in commands.replace("localhost:8000", f"127.0.0.1:{port}").splitlines():
            if line.startswith("# "):
                expected.append(line[2:])
            else:
                # An answer may end without an end of line.
                script.append(f"{line}\necho")
        ran = subprocess.run(["bash", "-c", "\n".join(script)], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert len(expected) >= 3
        assert [line for line in ran.stdout.splitlines() if line] == expected


@contextmanager
def example(command: str, environment: dict[str, str]) -> Iterator[int]:
    with create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    words = [sys.executable if word == "python3" else word for word in command.split()]
    with subprocess.Popen(words, cwd=ROOT, env={**environment, "PORT": str(port)}) as process:
        try:
            for _ in range(PATIENCE * 20):
                assert process.poll() is None, "the example ended"
                with socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
