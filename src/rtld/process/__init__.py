"""Where a linker meets a machine: programs started, waited for, and what becomes of them.

``kernel`` starts a program as ``execve`` would; ``foreground`` waits for one on behalf of a terminal user.
"""
