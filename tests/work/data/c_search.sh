# C: libraries found by rpath, runpath, LD_LIBRARY_PATH, $ORIGIN, symlinked programs, deleted files, missing ones and their messages
# needs: gcc
# with:
# with: --lazy
echo 'int f(void) { return N; }' >l.c; echo '#include <stdio.h>
int f(void); int main(void) { printf("%d\n", f()); return 0; }' >t.c
for n in 1 2 3; do mkdir $n; gcc -DN=$n -shared -fPIC l.c -o $n/libf.so; done; gcc t.c -o origin -L1 -lf -Wl,-rpath,'$ORIGIN/1'; gcc t.c -o rpath -L1 -lf -Wl,--disable-new-dtags,-rpath,'$ORIGIN/2'; gcc t.c -o bare -L1 -lf; mkdir bin; ln -s ../origin bin/link; mkdir -p 4; echo junk >4/libf.so; cp bare unversioned; echo 'int g(void) { return 1; }' >g.c; mkdir 5; gcc -shared -fPIC g.c -o 5/libf.so; cp /bin/true notx; chmod -x notx; echo garbage >g; chmod +x g; : >empty; chmod +x empty; printf '#!/bin/sh\necho script $1\n' >s; chmod +x s
#== run
$RUN ./origin; $RUN ./rpath; LD_LIBRARY_PATH=3 $RUN ./origin; LD_LIBRARY_PATH=3 $RUN ./rpath; LD_LIBRARY_PATH=3 $RUN ./bare; $RUN bin/link; (cd 2; $RUN ../origin; PATH=..:$PATH $RUN origin); LD_LIBRARY_PATH=4:3 $RUN ./bare; echo "status $?"; $RUN ./bare; echo "status $?"; LD_LIBRARY_PATH=5 $RUN ./bare; echo "status $?"; LD_LIBRARY_PATH=5 LD_BIND_NOW=1 $RUN ./bare; echo "status $?"
