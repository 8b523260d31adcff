"""What setup.cfg cannot say: a source distribution holds all that the tests need, and the history."""

from setuptools import setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    """setuptools' own, which takes packages, data files and licences by itself."""

    def add_defaults(self) -> None:
        super().add_defaults()
        for directory in (".ci", "man", "tests"):
            self.filelist.graft(directory)
        self.filelist.extend(["CHANGELOG.rst", ".ruff.toml"])
        self.filelist.global_exclude("*.py[co]")


setup(cmdclass={"sdist": SourceDistribution})
