# gcc: preprocess, compile, assemble, link; the programs run; errors; binutils on the results
# needs: gcc
# mask: cc[A-Za-z0-9]{6}\.o
# with:
# with: --lazy
cat >a.c <<'END'
#include <math.h>
#include <stdio.h>
#include "b.h"
int main(void) { double s = 0; for (int i = 1; i < 1000; i++) s += sqrt(i) * sin(i); printf("%.12f %d\n", s, twice(21)); return twice(2); }
END
echo 'int twice(int);' >b.h; printf '#include "b.h"\nint twice(int x) { return x * 2; }\n' >b.c; echo 'int f( { return undeclared; }' >bad.c
#== run
$RUN gcc -O2 -Wall -c a.c -o a.o; $RUN gcc -O2 -fPIC -shared b.c -o libb.so; $RUN gcc a.o -L. -lb -lm -Wl,-rpath,. -o prog; $RUN ./prog; echo "status $?"
$RUN gcc -static -O0 a.c b.c -lm -o static; $RUN ./static; echo "status $?"; $RUN gcc bad.c; echo "status $?"; $RUN gcc a.c -lm; echo "status $?"
$RUN gcc -S -O1 b.c -o - | grep -c addl; $RUN gcc -E -dM - </dev/null | sort | md5sum; $RUN gcc -flto -O2 a.c b.c -lm -o lto; $RUN ./lto
$RUN as --version | head -1; $RUN ld -r a.o -o r.o; $RUN nm libb.so | grep twice; $RUN objdump -d -M intel libb.so | md5sum; $RUN readelf -aW prog | md5sum; $RUN strip prog -o stripped; $RUN size stripped; $RUN ar rcs lib.a a.o; $RUN ar t lib.a; $RUN objcopy -O binary stripped bin; $RUN strings -n 8 stripped | md5sum; $RUN ranlib -D lib.a; $RUN addr2line -e prog 0; $RUN gprof --version | head -1; rm lib.a
p=$(gcc -print-prog-name=cc1); $RUN $p -quiet -O2 b.c -o b.s; grep -c ret b.s; $RUN $(gcc -print-prog-name=collect2) --version 2>/dev/null | head -1
