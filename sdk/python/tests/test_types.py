"""The SDK and its authors pass `mypy --strict`, and what must not pass does not.

Uses the mypy of this Python, or puts one from PyPI into a temporary environment; without
either the tests are skipped, and say so.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest

from fake import HERE, SOURCE

TYPED = os.path.join(HERE, "typed")


class Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="turnkey-sdk-")
        cls.addClassCleanup(directory.cleanup)
        cls.directory = directory.name
        cls.python = sys.executable
        if importlib.util.find_spec("mypy") is None:
            cls.python = cls.install()

    @classmethod
    def install(cls):
        home = os.path.join(cls.directory, "mypy")
        python = os.path.join(home, "bin", "python")
        for command in (
            [sys.executable, "-m", "venv", home],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "mypy"],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"\nNOT TRIED: no mypy: {' '.join(command)}: {done.stderr}", file=sys.stderr)
                raise unittest.SkipTest("mypy is not installed, and pip could not install it")
        return python

    def mypy(self, *arguments):
        return subprocess.run(
            [self.python, "-m", "mypy", "--strict", "--no-error-summary",
             "--cache-dir", os.path.join(self.directory, "cache"), *arguments],
            env={**os.environ, "MYPYPATH": SOURCE},
            cwd=self.directory,
            capture_output=True,
            text=True,
        )  # fmt: skip

    def test_all(self):
        # The fixture's own module imports pytest, which need not be here.
        done = self.mypy(SOURCE, "--exclude", "pytest_plugin")
        self.assertEqual(done.stdout + done.stderr, "")
        done = self.mypy(os.path.join(TYPED, "good.py"))
        self.assertEqual(done.stdout + done.stderr, "")
        with open(os.path.join(TYPED, "bad.py")) as file:
            bad = [n for n, line in enumerate(file, 1) if line.rstrip().endswith("# BAD")]
        done = self.mypy(os.path.join(TYPED, "bad.py"))
        found = {int(n) for n in re.findall(r"bad\.py:(\d+): error", done.stdout)}
        self.assertEqual(sorted(found), bad, done.stdout)


if __name__ == "__main__":
    unittest.main()
