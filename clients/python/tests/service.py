"""A real pserve with the session plugin, in a folder of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

API_KEY = "the-api-key"
ADMIN_KEY = "the-admin-key"
# Seconds: longer than any answer takes, even where much else runs.
PATIENCE = 120

ROOT = Path(__file__).resolve().parents[3]
ARTIFACTS = Path(os.environ.get("E2E_ARTIFACTS", ROOT / "target" / "release"))


class Service:
    """`pserve` with the keys above, sessions in memory, and what `sessman` adds to its configuration."""

    def __init__(self, **sessman: Any) -> None:
        """Start it and wait until it listens."""
        self._folder = tempfile.TemporaryDirectory(prefix="sessman-python-")
        folder = Path(self._folder.name)
        plugins = folder / "plugins"
        plugins.mkdir(mode=0o755)
        plugin = "libsessman_plugin.so"
        (plugins / plugin).write_bytes((ARTIFACTS / plugin).read_bytes())
        config = {"backend": "memory", "admin_key": ADMIN_KEY, **sessman}
        (folder / "sessman.json").write_text(json.dumps(config))
        (folder / "pserve.ini").write_text(
            f"[network]\nport=0\n[paths]\nplugins=plugins\n[auth]\napikey={API_KEY}\n"
            "[log]\naccess=true\n[plugin_parms]\nsessman=json=sessman.json\n"
        )
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [ARTIFACTS / "pserve", "-i", folder / "pserve.ini"], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "://" not in line:
            self.stop()
            raise RuntimeError(f"pserve did not start: {self.log()}")
        self.url = f"http://{line.strip().split('://')[1]}/sessman"
        self.options: dict[str, Any] = {
            "base_url": self.url,
            "api_key": API_KEY,
            "admin_key": ADMIN_KEY,
            "timeout": PATIENCE,
        }
        # The same for `from_environment`, with the modules that the tests have.
        self.environment = {
            **os.environ,
            "SESSMAN_URL": self.url,
            "SESSMAN_KEY": API_KEY,
            "SESSMAN_ADMIN_KEY": ADMIN_KEY,
            "SESSMAN_TIMEOUT": str(PATIENCE),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    def log(self) -> str:
        """Return what it logged."""
        return self._log.read_text()

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> "Service":
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and remove its folder."""
        self.stop()
        self._folder.cleanup()
