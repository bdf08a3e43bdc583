# LLVM: opt, llc, lli (just-in-time compiler) and llvm-mc on generated IR
# needs: opt-14 llc-14 lli-14 clang-14
# with:
# with: --lazy
printf '#include <stdio.h>\nint f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\nint main(void) { printf("%%d\\n", f(20)); return 7; }\n' >a.c; clang-14 -O0 -Xclang -disable-O0-optnone -emit-llvm -c a.c
#== run
$RUN opt-14 -O2 a.bc -o b.bc; $RUN llvm-dis-14 b.bc -o b.ll; $RUN llc-14 -relocation-model=pic b.bc -o b.s; $RUN lli-14 a.bc; echo "status $?"; $RUN lli-14 --jit-kind=orc-lazy a.bc; echo "status $?"; $RUN llvm-mc-14 -filetype=obj b.s -o b.o; $RUN llvm-objdump-14 -d b.o | md5sum; $RUN llvm-nm-14 b.o; $RUN opt-14 -passes=nosuch a.bc; echo "status $?"
