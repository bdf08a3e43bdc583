# C: dlopen, dlsym (DEFAULT, NEXT), dlvsym, dlclose, dlerror, dladdr, dladdr1, dlinfo, dlmopen, dl_iterate_phdr, flags
# needs: gcc
# with:
# with: --lazy
# with: --now
# with: --interp
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int from_main(void) { return 1234; }
static const char *base(const char *p) { const char *s = p ? strrchr(p, '/') : 0; return s ? s + 1 : p ? p : "(null)"; }
static void check(const char *what, void *p) { char *e = dlerror(); printf("%s: %s %s\n", what, p ? "found" : "NULL", e ? e : "-"); }
static int count(struct dl_phdr_info *i, size_t s, void *d) { if (strstr(i->dlpi_name, "libp")) { printf("phdr %s adds %d subs %d tls %d\n", base(i->dlpi_name), i->dlpi_adds > 0, (int)i->dlpi_subs, i->dlpi_tls_modid != 0); } ++*(int *)d; return 0; }
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0); int n = 0; void *h, *g; check("nosuch", dlopen("libnosuch.so", RTLD_NOW)); check("bad file", dlopen("./t.c", RTLD_NOW)); check("flags", dlopen("./libp.so", 0)); check("noload", dlopen("./libp.so", RTLD_NOW | RTLD_NOLOAD));
    check("undefined", dlopen("./libundef.so", RTLD_NOW)); h = dlopen("./libundef.so", RTLD_LAZY); check("undefined lazily", h); if (h) dlclose(h);
    h = dlopen("./libp.so", RTLD_NOW); check("libp", h); g = dlopen("libp.so", RTLD_NOW | RTLD_NOLOAD); check("by soname", g); printf("same %d\n", h == g); if (g) dlclose(g);
    int (*f)(void) = (int (*)(void))dlsym(h, "plug"); printf("plug %d\n", f()); check("nosuch symbol", dlsym(h, "nosuch")); check("default", dlsym(RTLD_DEFAULT, "plug")); check("main's", dlsym(RTLD_DEFAULT, "from_main")); check("dep's by handle", dlsym(h, "dep"));
    printf("dlvsym %d\n", dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.3") != 0); check("wrong version", dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_9"));
    Dl_info i; printf("dladdr %d\n", dladdr((void *)f, &i)); printf("%s %s\n", base(i.dli_fname), i.dli_sname); printf("%d %d\n", (void *)f == i.dli_saddr, *(char *)i.dli_fbase == 127); printf("none %d\n", dladdr((void *)&i, &i));
    printf("%s %s\n", dladdr((void *)main, &i) ? base(i.dli_fname) : "no", i.dli_sname ? i.dli_sname : "-"); printf("%s %s\n", dladdr((void *)puts, &i) ? base(i.dli_fname) : "no", i.dli_sname ? i.dli_sname : "-");
    struct link_map *m; printf("dlinfo %d\n", dlinfo(h, RTLD_DI_LINKMAP, &m)); puts(base(m->l_name)); Lmid_t id; dlinfo(h, RTLD_DI_LMID, &id); printf("lmid %ld\n", id); char o[500]; dlinfo(h, RTLD_DI_ORIGIN, o); printf("%s\n", base(o)); Dl_serinfo z, *sp; dlinfo(h, RTLD_DI_SERINFOSIZE, &z); sp = malloc(z.dls_size); dlinfo(h, RTLD_DI_SERINFOSIZE, sp); printf("serinfo %d\n", dlinfo(h, RTLD_DI_SERINFO, sp)); for (unsigned k = 0; k < sp->dls_cnt; k++) puts(base(sp->dls_serpath[k].dls_name)); size_t tm = 0; printf("tls modid %d\n", dlinfo(h, RTLD_DI_TLS_MODID, &tm)); printf("%d\n", tm != 0);
    const ElfW(Sym) *sym; printf("dladdr1 %d\n", dladdr1((void *)f, &i, (void **)&sym, RTLD_DL_SYMENT)); printf("%d\n", (int)(sym && sym->st_size > 0)); dladdr1((void *)f, &i, (void **)&m, RTLD_DL_LINKMAP); printf("%s\n", base(m->l_name));
    dl_iterate_phdr(count, &n); printf("more than five %d\n", n > 5); int k = 0; for (m = _r_debug.r_map; m; m = m->l_next) k += strstr(m->l_name, "libp") != 0; 
    dlclose(h); check("closed", dlopen("./libp.so", RTLD_NOW | RTLD_NOLOAD)); n = 0; dl_iterate_phdr(count, &n);
    h = dlopen("./libp.so", RTLD_LAZY | RTLD_GLOBAL); check("global", dlsym(RTLD_DEFAULT, "plug")); f = (int (*)(void))dlsym(h, "plug"); printf("again %d\n", f()); dlopen("./libp.so", RTLD_NOW | RTLD_NODELETE); dlclose(h); dlclose(h); check("nodelete", dlopen("./libp.so", RTLD_NOW | RTLD_NOLOAD));
    check("main", g = dlopen(0, RTLD_NOW)); check("in main", dlsym(g, "from_main")); h = dlmopen(LM_ID_NEWLM, "./libp.so", RTLD_NOW); check("dlmopen", h); if (h) { f = (int (*)(void))dlsym(h, "plug"); printf("other %d\n", f()); dlinfo(h, RTLD_DI_LMID, &id); printf("new %d\n", id != 0); dlclose(h); }
    h = dlopen("./libdeep.so", RTLD_NOW | RTLD_DEEPBIND); check("deepbind", h); f = (int (*)(void))dlsym(h, "use"); printf("deep %d\n", f()); h = dlopen("./libdeep2.so", RTLD_NOW); f = (int (*)(void))dlsym(h, "use"); printf("shallow %d\n", f());
    for (k = 0; k < 100; k++) { h = dlopen("./libtls.so", RTLD_NOW); f = (int (*)(void))dlsym(h, "next"); n = f(); dlclose(h); } printf("tls %d\n", n);
    puts("leaving main"); return 0;
}
int interposed(void) { return 1; }
END
cat >p.c <<'END'
#include <unistd.h>
int from_main(void), dep(void); __thread int seen = 4; static int n;
__attribute__((constructor)) static void in(void) { write(1, "libp in\n", 8); } __attribute__((destructor)) static void out(void) { write(1, "libp out\n", 9); }
int plug(void) { return from_main() + dep() + seen++ + n++ * 1000; }
END
sed 's/from_main() +/5 +/; s/int from_main(void), dep/int dep/' p.c >pm.c
printf '#include <unistd.h>\n__attribute__((constructor)) static void in(void) { write(1, "dep in\\n", 7); } __attribute__((destructor)) static void out(void) { write(1, "dep out\\n", 8); }\nint dep(void) { return 100; }\n' >dep.c
echo 'int nowhere(void); int u(void) { return nowhere(); }' >u.c; echo 'int interposed(void) { return 2; } int use(void) { return interposed(); }' >deep.c; echo '__thread int x[100] = { 8 }; int next(void) { return ++x[0]; }' >tls.c
gcc -shared -fPIC dep.c -o libpdep.so; gcc -shared -fPIC p.c -L. -lpdep -Wl,-rpath,'$ORIGIN' -Wl,-soname,libp.so -o libp.so; gcc -shared -fPIC u.c -o libundef.so; gcc -shared -fPIC deep.c -o libdeep.so; cp libdeep.so libdeep2.so; gcc -shared -fPIC tls.c -o libtls.so; gcc -O0 -rdynamic t.c -o t
gcc -shared -fPIC pm.c -L. -lpdep -Wl,-rpath,'$ORIGIN' -Wl,-soname,libp.so -o pm.so; mkdir own; cp libpdep.so libundef.so libdeep.so libdeep2.so libtls.so t t.c own; cp pm.so own/libp.so
#== run
$RUN ./t; echo "status $?"; cd own; $RUN ./t; echo "status $?"
