"""What `import turnkey` finds in the zip that the program `turnkey` carries.

The program puts that zip on PYTHONPATH, which comes before the installed packages. This shim
lets an installed `turnkey` win all the same: it looks for one everywhere but in the zip, and
loads the carried copy only if there is none. The zip is laid out like this:

    turnkey.py                  this file
    carried/turnkey/…           the package: sdk/python/src/turnkey as it is

Invariant: `sys.modules["turnkey"]` is the real package afterwards, with nothing of this file
in it; what the package imports of itself comes from where it was found.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def find():
    """The spec of the package that is to be loaded."""
    here = os.path.dirname(__file__)
    elsewhere = [entry for entry in sys.path if entry != here]
    spec = PathFinder.find_spec("turnkey", elsewhere)
    if spec is None or spec.origin is None:  # A mere directory of that name has no origin.
        spec = None
        # Packages that are installed for editing may have a finder of their own.
        for finder in sys.meta_path:
            if finder is not PathFinder and spec is None:
                spec = finder.find_spec("turnkey", None)
    return spec or PathFinder.find_spec("turnkey", [os.path.join(here, "carried")])


def load():
    """Puts the package into this module's place."""
    spec = find()
    if not hasattr(spec.loader, "exec_module"):  # A zip's, before Python 3.10.
        del sys.modules["turnkey"]
        spec.loader.load_module("turnkey")
        return
    module = module_from_spec(spec)
    sys.modules["turnkey"] = module
    spec.loader.exec_module(module)


load()
