"""Programs of other CPUs: processes whose CPU is emulated.

============  ==================================================================================
``run``       READ FIRST: a program from start to end; fork and exec come back here
``start``     what ``rtld run`` says, made into a machine: which program, which files
``which``     whether a program is for another CPU
``system``    what all processes of one run share: the guest's files, limits, chance, who is told
``execve``    the kernel's part, step by step: a file becomes a process that can be started
``layouts``   where things stand in an address space: Linux's, QNX's, LiteOS's
``portrait``  the address space and what happened in it, as people see it;  ``postmortem``: a fault, told
``qemu``      CPUs that cannot be emulated here
``observe``   who looks on: functions that run, memory that is touched
``anchor``    the program that the guest's ld.so believes to start, when our linker links
``guest``     our linker's part: modules, bindings, thread-local storage, initialisers
============  ==================================================================================
"""
