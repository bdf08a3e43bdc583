"""A Debian sysroot from the package archive, without touching this machine's dpkg.

=============  ====================================================================================
``sysroot``    READ FIRST: create, add, list; what a sysroot knows about itself
``sources``    which archive: what this machine's apt uses, or what was asked for
``archive``    one suite of an archive: Release, its signature, the index of packages
``fetch``      getting files: cache, resuming, checksums, progress
``control``    the paragraphs of control files;  ``version``: how versions compare
``depend``     which packages are needed
``deb``        the .deb format: ar, compressors;  ``unpack``: members of its tar into a directory
``contents``   which package has a file
=============  ====================================================================================

Sources: Debian Policy (chapters 5 and 7), deb(5), deb822(5), sources.list(5), the wiki's DebianRepository/Format. What is
downloaded is checked against the hashes of a Release file, whose signature gpgv checks; what is unpacked stays inside the
directory. Nothing of a package is executed: neither its maintainer scripts nor its triggers.
"""

from __future__ import annotations
