"""Programs in a process of their own: ptrace, batched system calls, generated anchors.

=============  ==================================================================
``ptrace``     one stopped thread and its memory: registers, read, write, continue
``spawn``      start a program with given descriptors, signal state, personality
``calls``      lists of system calls that another process carries out by itself
``machine``    the machine code of that, x86-64 and i386
``anchor``     the smallest ELF executable around it
``loading``    the list that loads a program, as the kernel would
``parked``     a process that waits for us without being traced
``exec``       the kernel's part of ``execve`` for any program, done from outside
=============  ==================================================================
"""
