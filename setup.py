"""What setup.cfg cannot say: which modules become machine code, and what a source distribution holds.

Every exchange passes through the modules in COMPILED. A wheel has them as machine code, too, made by mypyc from their
types: the same sources, with two fifths of the instructions for a small exchange. Where that is not possible (no
compiler, no headers of Python) or not wanted (MITMDUMP_PURE=1; an editable install, whose sources it would hide), they
run as they are, only slower. What such a module must not do is in tests/test_compiled.py.
"""

import os
import platform
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

COMPILED = {
    "flowfile": "frame keys packing reader schema usual usual_bytes writer",
    "model": "body connection flow message url",
    "net": "stream turn vigil wakeup",
    "proxy": "channel client exchange handled heads policy target upstreams",
    "sinks": "exporter filesink output recorder series tap",
    "tls": "session",
    "wire": "events handshake head hop http1 http2/limits",
}

# The types of other packages do not matter to the code that is made: it is the same whether they are installed or not.
OPTIONS = [
    "--config-file=",
    "--cache-dir=/dev/null",
    "--no-site-packages",
    "--ignore-missing-imports",
    "--follow-imports=silent",
]


def generated() -> list[Extension]:
    """C for the modules in COMPILED; nothing where mypyc is missing or does not take them."""
    asked = {"bdist_wheel", "install"}.intersection(sys.argv)  # the latter by pip up to 23.0
    if not asked or os.environ.get("MITMDUMP_PURE") or platform.python_implementation() != "CPython":
        return []
    modules = [f"mitmdump/{package}/{name}.py" for package, names in COMPILED.items() for name in names.split()]
    try:
        from mypyc.build import mypycify

        return mypycify([*OPTIONS, *modules], group_name="mitmdump", opt_level="2", debug_level="0", target_dir="build")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it exits where it finds something wrong
        return not_compiled(error)


def not_compiled(reason: object) -> list[Extension]:
    """Say why, and go on without."""
    print(f"mitmdump is not compiled, and so slower than it could be: {reason}", file=sys.stderr)  # noqa: T201
    return []


class Compiled(Distribution):
    """Generates its extensions when it is asked for them: only then is mypyc at hand, whatever calls this file."""

    ext_modules: list[Extension] | None

    def has_ext_modules(self) -> bool:
        """Is there anything to be compiled?"""
        if self.ext_modules is None:
            self.ext_modules = generated()
        return bool(self.ext_modules)


class BuildAllOrNone(build_ext):
    """Compiles all extensions or none: each needs what the first holds."""

    def run(self) -> None:
        """Compile."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001  # of setuptools, or of the compiler that it found
            for built in self.get_outputs():
                Path(built).unlink(missing_ok=True)
            self.extensions = not_compiled(error)


class SourceDistribution(sdist):
    """setuptools' own, which takes the package, the manual and the licence by itself."""

    def make_distribution(self) -> None:
        """Add the tests and the history."""
        for directory in (".ci", "tests"):
            self.filelist.graft(directory)
        self.filelist.extend(["CHANGELOG.rst", ".ruff.toml"])
        self.filelist.global_exclude("*.py[co]")
        super().make_distribution()


setup(distclass=Compiled, cmdclass={"build_ext": BuildAllOrNone, "sdist": SourceDistribution})
