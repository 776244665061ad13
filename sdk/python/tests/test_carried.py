"""The zip that the program carries: built here as its head says, and imported by every Python
that is at hand, by its path and through the descriptor of a file in memory.
"""

from __future__ import annotations

import glob
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

from fake import SOURCE, Worker

CARRIED = os.path.join(os.path.dirname(SOURCE), "carried")


def build():
    """The zip's bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(os.path.join(CARRIED, "turnkey.py"), "turnkey.py")
        for path in sorted(glob.glob(os.path.join(SOURCE, "turnkey", "**", "*.py"), recursive=True)):
            archive.write(path, "carried/" + os.path.relpath(path, SOURCE))
    return data.getvalue()


def interpreters():
    """This one, and one of each other version at hand."""
    found = {os.path.basename(os.path.realpath(sys.executable)): sys.executable}
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for minor in range(9, 15):
        candidates = sorted(glob.glob(f"{pyenv}/versions/3.{minor}.*/bin/python3.{minor}"))
        path = candidates[-1] if candidates else shutil.which(f"python3.{minor}")
        if path:
            found.setdefault(f"python3.{minor}", path)
    return list(found.values())


SHOW = """
import sys, turnkey, turnkey.testing
assert sys.modules["turnkey"] is turnkey, "not the same module"
assert not hasattr(turnkey, "find"), "the shim is still there"
print(turnkey.__file__, turnkey.testing.Conversation(lambda turn: turn.reply("hi")).says("a", "b"))
"""


class CarriedZip(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="turnkey-sdk-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.path = os.path.join(self.directory, "sdk.zip")
        with open(self.path, "wb") as file:
            file.write(build())
        self.memory = os.memfd_create("turnkey-sdk")
        self.addCleanup(os.close, self.memory)
        os.write(self.memory, build())

    def entries(self):
        return self.path, f"/proc/self/fd/{self.memory}"

    def show(self, python, entry, *more, cwd=None, source=SHOW):
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join([entry, *more]))
        done = subprocess.run(
            [python, "-c", source],
            env=environment,
            cwd=cwd or self.directory,
            pass_fds=[self.memory],
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, f"{python} {entry}: {done.stderr}")
        return done.stdout

    def test_the_carried_copy_is_used_where_none_is_installed(self):
        for python in interpreters():
            for entry in self.entries():
                with self.subTest(python=python, entry=entry):
                    shown = self.show(python, entry)
                    self.assertEqual(shown, f"{entry}/carried/turnkey/__init__.py [Reply('hi')]\n")

    def test_an_installed_one_wins(self):
        installed = os.path.join(self.directory, "installed")
        shutil.copytree(SOURCE, installed)
        for python in interpreters():
            for entry in self.entries():
                with self.subTest(python=python, entry=entry):
                    shown = self.show(python, entry, installed)
                    self.assertEqual(shown, f"{installed}/turnkey/__init__.py [Reply('hi')]\n")

    def test_one_that_is_installed_for_editing_wins(self):
        """With a finder of its own, as setuptools makes them."""
        finder = (
            "import importlib.util, sys\n"
            "class Finder:\n"
            "    @staticmethod\n"
            "    def find_spec(name, path=None, target=None):\n"
            "        if name == 'turnkey':\n"
            f"            return importlib.util.spec_from_file_location(name, {SOURCE + '/turnkey/__init__.py'!r})\n"
            "sys.meta_path.append(Finder)\n"
        )
        shown = self.show(sys.executable, self.path, source=finder + SHOW)
        self.assertTrue(shown.startswith(SOURCE + "/turnkey/__init__.py"), shown)

    def test_another_package_of_that_name_does_not_win(self):
        other = os.path.join(self.directory, "other")
        os.makedirs(os.path.join(other, "turnkey"))
        with open(os.path.join(other, "turnkey", "__init__.py"), "w") as file:
            file.write("raise ImportError('not this one')\n")
        shown = self.show(sys.executable, self.path, other)
        self.assertTrue(shown.startswith(self.path + "/carried/"), shown)

    def test_the_zip_may_have_two_names(self):
        for python in interpreters():
            with self.subTest(python=python):
                shown = self.show(python, *self.entries())
                self.assertTrue(shown.startswith(self.path + "/carried/"), shown)

    def test_a_mere_directory_of_that_name_does_not_win(self):
        os.mkdir(os.path.join(self.directory, "turnkey"))
        for python in interpreters():
            with self.subTest(python=python):
                shown = self.show(python, self.path)
                self.assertTrue(shown.startswith(self.path + "/carried/"), shown)

    def test_a_bot_runs_with_it_and_traces_are_the_authors(self):
        with Worker(
            "import turnkey\ndef handle(turn):\n    turn.reply(7)\nturnkey.run(handle)\n",
            env={"PYTHONPATH": self.path},
        ) as bot:
            fail = bot.failure()
            self.assertIn("turn.reply takes a str", fail["error"])
            self.assertIn("turn.reply(7)", fail["trace"])
            self.assertNotIn("carried", fail["trace"])


if __name__ == "__main__":
    unittest.main()
