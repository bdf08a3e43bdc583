"""A debugger's view of a program on an emulated CPU: the remote protocol of gdb, on a port of this machine.

``packets`` is the line, ``registers`` the registers of each CPU as gdb names them, ``session`` the conversation. Source:
the manual of gdb, appendix E ("GDB Remote Serial Protocol") and appendix G ("Target Descriptions").
"""

from __future__ import annotations
