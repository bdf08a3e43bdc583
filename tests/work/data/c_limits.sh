# C: static TLS of plugins until it is used up, programs without libc, i386 programs, scripts, address space limits, many libraries, deep chains
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { setvbuf(stdout, 0, _IOLBF, 0); for (int i = 1; i < argc; i++) { void *h = dlopen(argv[i], RTLD_NOW); if (!h) { puts(dlerror()); continue; } long (*f)(void) = dlsym(h, "get"); printf("%s %ld\n", argv[i], f ? f() : -1); } return 0; }
END
printf '__attribute__((tls_model("initial-exec"))) __thread long x[N] = { 5 }; long get(void) { return ++x[0]; }\n' >ie.c; for n in 16 64 100 20000; do gcc -DN=$n -shared -fPIC ie.c -o ie$n.so; done; gcc t.c -o t
printf '.globl _start\n.type _start,@function\n_start: sub $8,%%rsp\ncall value@PLT\nmov %%eax,%%edi\nmov $60,%%eax\nsyscall\n.section .note.GNU-stack,"",@progbits\n' >s.s; echo 'int value(void) { return 42; }' >v.c; gcc -shared -fPIC -nostdlib v.c -o libv.so; gcc -nostdlib -pie s.s -o bare -L. -lv -Wl,-rpath,'$ORIGIN'; gcc -nostdlib -no-pie s.s -o bare2 -L. -lv -Wl,-rpath,'$ORIGIN'; printf '.globl _start\n_start: mov $7,%%edi\nmov $60,%%eax\nsyscall\n.section .note.GNU-stack,"",@progbits\n' >n.s; gcc -nostdlib -pie n.s -o alone; gcc -nostdlib -static n.s -o static
I=/usr/i686-linux-gnu/lib; if command -v i686-linux-gnu-gcc >/dev/null; then printf '#include <stdio.h>\n#include <pthread.h>\n#include <dlfcn.h>\nstatic void *r(void *p) { return p; }\nint main(int c, char **v) { pthread_t t; pthread_create(&t, 0, r, 0); pthread_join(t, 0); printf("i386 %%d %%s %%d\\n", c, v[1], dlopen("libm.so.6", 2) != 0); return 5; }\n' >i.c; i686-linux-gnu-gcc i.c -o i386 -pthread -Wl,--dynamic-linker=$I/ld-linux.so.2,-rpath,$I; fi
printf '#!/bin/sh -e\necho script "$1" ${0##*/}\nexit 4\n' >script; printf '#!/usr/bin/env python3\nimport sys; print(sys.argv[1:])\n' >py; chmod +x script py
for i in $(seq 1 150); do next=$((i + 1)); [ $i = 150 ] && echo "int f$i(void) { return 0; }" >d.c || echo "int f$next(void); int f$i(void) { return f$next() + 1; }" >d.c; gcc -shared -fPIC d.c -o libd$i.so -Wl,-soname,libd$i.so; done; for i in $(seq 149 -1 1); do echo "int f$((i+1))(void); int f$i(void) { return f$((i+1))() + 1; }" >d.c; gcc -shared -fPIC d.c -o libd$i.so -Wl,-soname,libd$i.so,-rpath,'$ORIGIN' -L. -ld$((i+1)); done; echo '#include <stdio.h>
int f1(void); int main(void) { printf("%d\n", f1()); return 0; }' >c.c; gcc c.c -o chain -L. -ld1 -Wl,-rpath,'$ORIGIN'
#== run
$RUN ./t ./ie16.so ./ie64.so ./ie100.so ./ie20000.so; $RUN ./t ./ie20000.so ./ie16.so; for p in bare bare2 alone static; do $RUN ./$p; echo "$p $?"; done; [ -f i386 ] && { $RUN ./i386 arg; echo "status $?"; }; $RUN ./script arg; echo "status $?"; $RUN ./py a b; $RUN ./chain; (ulimit -v 300000; $RUN ./chain); (ulimit -n 200; $RUN ./chain); LD_BIND_NOW=1 $RUN ./chain; $RUN /lib64/ld-linux-x86-64.so.2 ./chain; echo "status $?"; $RUN /lib64/ld-linux-x86-64.so.2 --list ./bare | sed 's/0x.*//'; $RUN /usr/lib/x86_64-linux-gnu/libc.so.6 | head -1
