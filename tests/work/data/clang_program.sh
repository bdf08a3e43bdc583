# clang-14: compile, optimise, print IR, errors
# needs: clang-14
# with:
# with: --lazy
cat >a.c <<'END'
#include <stdio.h>
static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(void) { printf("%d\n", fib(25)); return 0; }
END
#== run
$RUN clang-14 -O2 a.c -o a; $RUN ./a; $RUN clang-14 -cc1 -O1 -emit-llvm -internal-isystem /usr/include -internal-externc-isystem /usr/include/x86_64-linux-gnu -internal-isystem $(clang-14 -print-resource-dir)/include a.c -o a.ll; md5sum a.ll | cut -c1-8
$RUN clang-14 -S -O3 -march=haswell a.c -o a.s; echo 'int main( { }' | $RUN clang-14 -x c - ; echo "status $?"
$RUN clang-14 --target=aarch64-linux-gnu -O1 -c -ffreestanding -xc -o arm.o - <<<'int f(int x) { return x * 3; }'; $RUN clang-14 -cc1 -ast-dump a.c 2>/dev/null | sed 's/0x[0-9a-f]*//g' | tail -1
