# C: copy relocations, IFUNCs, symbol versions, weak and protected symbols, function pointers equal across objects, -Bsymbolic
# needs: gcc
# with:
# with: --lazy
# with: --now
# with: --interp
cat >l.c <<'END'
#include <stdio.h>
int table[50] = { 1, 2, 3 }; int *inside(void) { return table; } const char *const names[] = { "zero", "one" };
static int one(void) { return 1; } static int two(void) { return 2; } static int (*pick(void))(void) { return names[1][0] == 'o' ? two : one; } int chosen(void) __attribute__((ifunc("pick"))); int (*chosen_pointer)(void) = chosen;
void func(void) {} void *func_address(void) { return (void *)func; } __attribute__((weak)) int weak_one(void) { return 10; } int call_weak(void) { return weak_one(); } __attribute__((visibility("protected"))) int prot(void) { return 20; } int call_prot(void) { return prot(); }
int old_f(void) { return 1; } int new_f(void) { return 2; } __asm__(".symver old_f,f@V1\n.symver new_f,f@@V2"); extern int maybe(void) __attribute__((weak)); int has_maybe(void) { return maybe != 0; }
FILE **out(void) { return &stdout; } int sym(void) { return 1; } int call_sym(void) { return sym(); }
__attribute__((tls_model("initial-exec"))) __thread long ie = 11; long get_ie(void) { return ie++; }
END
echo 'V1 { global: *; }; V2 { global: f; } V1;' >l.map
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
extern int table[50], *inside(void), chosen(void), (*chosen_pointer)(void), call_weak(void), call_prot(void), f(void), f1(void), has_maybe(void), call_sym(void); extern const char *const names[]; void func(void), *func_address(void); FILE **out(void); long get_ie(void); extern __thread long ie; extern char **environ;
__asm__(".symver f1,f@V1"); int weak_one(void) { return 30; } int prot(void) { return 40; } int sym(void) { return 2; } int (*pointer)(void) = chosen; void *pf = (void *)func; int optind_seen;
int main(void) {
    table[1] = 22; printf("%d %d\n", inside() == table, inside()[1]); printf("%s\n", names[1]); printf("%d %d %d %d\n", chosen(), pointer(), chosen_pointer(), pointer == chosen_pointer); printf("%d %d\n", func_address() == (void *)func, pf == (void *)func); printf("%d %d %d %d\n", call_weak(), call_prot(), f(), f1()); printf("%d %d\n", has_maybe(), call_sym()); fprintf(*out(), "%d\n", *out() == stdout); get_ie(); printf("%ld\n", ie);
    void *(*mc)(void *, const void *, size_t) = memcpy; char b[8]; mc(b, "ifunc", 6); puts(b); printf("%d %d\n", mc == dlsym(RTLD_DEFAULT, "memcpy"), (void *)&environ == dlsym(RTLD_DEFAULT, "environ")); char *v[] = { "x", "-a", 0 }; getopt(2, v, "a"); printf("%d\n", optind); stderr = stdout; fprintf(stderr, "through stderr\n"); return 0;
}
END
gcc -w -shared -fPIC -O1 l.c -Wl,--version-script,l.map -Wl,-z,now -o libl.so; gcc -w t.c -o pie -L. -ll -Wl,-rpath,'$ORIGIN'; gcc -w -no-pie -fno-pie t.c -o nopie -L. -ll -Wl,-rpath,'$ORIGIN'
#== run
$RUN ./pie; echo "status $?"; $RUN ./nopie; echo "status $?"; rm libl.so; $RUN ./pie; echo "status $?"
