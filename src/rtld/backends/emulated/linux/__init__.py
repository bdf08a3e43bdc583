"""Linux as a guest sees it: system calls by subject. What is not here answers ENOSYS, and is counted by name.

============  ======================================================================================
``calls``     what all subjects share: the guest's words, strings and structures; ending, sleeping
``io``        read, write, seek, pipes, descriptors;  ``poll``: waiting for them
``files``     names: open, stat, directories;  ``tree``: which host file a guest's name is (confinement)
``special``   memfd, eventfd, timerfd, inotify;  ``hostcalls``: what Python has no function for
``status``    struct stat and its relatives, CPU by CPU;  ``proc``, ``procpid``: /proc
``memory``    brk, mmap and its like;  ``clocks``: time and sleep
``tasks``     threads: clone, futex, who runs next;  ``timers``: alarm, setitimer, timer_create
``signals``   actions, masks, sending;  ``frames``: into a handler and back;  ``ucontext``: what it finds on its stack
``signalfd``  signals that are read;  ``fpcontext``, ``fxsave``: floating-point registers in a ``ucontext``
``process``   fork, exec, wait, identity, limits;  ``pidfd``: processes as descriptors
``ipc``       shared memory, semaphores, messages;  ``ipcshape``: their structures
``sockets``   only with permission;  ``messages``: several by one call;  ``addresses``: what they may lead to
``mips``      numbers that are otherwise on MIPS
============  ======================================================================================
"""
