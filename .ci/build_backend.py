"""The build backend: setuptools', with the list of a source distribution's files kept in this folder.

setuptools reads that list from a MANIFEST.in at the top level and from nowhere else, and without one leaves the
tests out. Its name is an attribute of the command, so this is all it takes.
"""

from setuptools.build_meta import *  # noqa: F403  (a backend is its module's functions)
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = ".ci/MANIFEST.in"
