"""Whether the peers on Node can be measured: `node`, `npm` and the packages of package.json."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "peers"
INSTALL = (
    *("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"),
    *("--fetch-retries=0", "--fetch-timeout=20000"),  # without a network it is known soon
)
INSTALL_SECONDS = 60.0
OLDEST = 18


@cache
def reason_against() -> str:
    """Why the peers on Node are left out, or nothing. Installs their packages where needed."""
    if shutil.which("node") is None:
        return "node is not installed"
    if int(version().lstrip("v").split(".")[0]) < OLDEST:
        return f"node {version()} is older than {OLDEST}"
    if all(_installed(name) == wanted for name, wanted in _wanted().items()):
        return ""
    if shutil.which("npm") is None:
        return "npm is not installed"
    return _install()


def version() -> str:
    """Of node."""
    return _output("node", "--version")


def versions() -> str:
    """Of node and of the packages, for notes."""
    return ", ".join([f"node {version()}", *(f"{one} {of}" for one, of in _wanted().items())])


def _install() -> str:
    try:
        done = subprocess.run(
            INSTALL,
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "npm install took too long"
    return "" if done.returncode == 0 else f"npm install failed: {done.stderr.strip()[-200:]}"


def _wanted() -> dict[str, str]:
    text = (FOLDER / "package.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)["dependencies"]
    return found


def _installed(name: str) -> str | None:
    try:
        text = (FOLDER / "node_modules" / name / "package.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return str(json.loads(text)["version"])


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
