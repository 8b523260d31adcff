"""What setup.cfg cannot say: a source distribution holds all that the tests need, and the history."""

from setuptools import setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    """setuptools' own, which takes the package, the manual and the licence by itself."""

    def make_distribution(self) -> None:
        for directory in (".ci", "tests"):
            self.filelist.graft(directory)
        self.filelist.extend(["CHANGELOG.rst", ".ruff.toml"])
        self.filelist.global_exclude("*.py[co]")
        super().make_distribution()


setup(cmdclass={"sdist": SourceDistribution})
