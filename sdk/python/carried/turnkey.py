"""What `import turnkey` finds in the zip that the program `turnkey` carries.

The program puts that zip on PYTHONPATH, which comes before the installed packages. This shim
lets an installed `turnkey` win all the same: it looks for one everywhere, and loads the carried
copy only if there is none. Another package may have the name: ours has OURS. The zip, which may
be on PYTHONPATH under two names, is laid out like this:

    turnkey.py                  this file
    carried/turnkey/…           the package: sdk/python/src/turnkey as it is

Invariant: `sys.modules["turnkey"]` is the real package afterwards, with nothing of this file
in it; what the package imports of itself comes from where it was found.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


#: A file of our package, and of no other.
OURS = "_wire.py"


def find():
    """The spec of the package that is to be loaded."""
    specs = [PathFinder.find_spec("turnkey", [entry]) for entry in sys.path]
    # Packages that are installed for editing may have a finder of their own.
    for finder in sys.meta_path:
        if finder is not PathFinder:
            specs.append(finder.find_spec("turnkey", None))
    for spec in specs:
        if spec and spec.origin and os.path.exists(os.path.join(os.path.dirname(spec.origin), OURS)):
            return spec
    carried = os.path.join(os.path.dirname(__file__), "carried")
    return PathFinder.find_spec("turnkey", [carried])


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
