# C: what a program can see of its loader: link maps, dl_iterate_phdr, auxv, /proc/self, names; chroot, closed descriptors, rlimits, daemons
# needs: gcc
# with:
# with: --lazy
cat >t.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
static const char *base(const char *p) { const char *s = strrchr(p, '/'); return s ? s + 1 : p; }
static int show(struct dl_phdr_info *i, size_t s, void *d) { const ElfW(Phdr) *p = 0; for (int k = 0; k < i->dlpi_phnum; k++) if (i->dlpi_phdr[k].p_type == PT_DYNAMIC) p = &i->dlpi_phdr[k]; printf("[%s %d %d %d]\n", base(i->dlpi_name), i->dlpi_phnum, i->dlpi_tls_modid > 0, p && ((ElfW(Dyn) *)(i->dlpi_addr + p->p_vaddr))->d_tag != 0); return strstr(i->dlpi_name, "libz") ? 5 : 0; }
static void text(const char *name) { char b[300]; int f = open(name, O_RDONLY), n = read(f, b, 299); close(f); for (int i = 0; i < n; i++) if (!b[i]) b[i] = ' '; b[n > 0 ? n : 0] = 0; printf("%s: %s\n", base(name), b); }
static int opens(const char *name) { void *h = dlopen(name, RTLD_NOW); int (*f)(void) = h ? (int (*)(void))dlsym(h, "plug") : 0; printf("%s %d\n", name, f ? f() : -1); if (!h) { char *e = dlerror(); puts(e ? e : "no error?"); } fflush(stdout); return f != 0; }
static int status(pid_t p) { int w; waitpid(p, &w, 0); return WIFEXITED(w) ? WEXITSTATUS(w) : 1000 + WTERMSIG(w); }
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    printf("returned %d\n", dl_iterate_phdr(show, 0)); struct link_map *m = dlopen(0, RTLD_NOW); for (; m; m = m->l_next) printf("%s %d %d\n", base(m->l_name), m->l_ld != 0, m->l_prev == 0 || m->l_prev->l_next == m); printf("r_debug %d %d\n", _r_debug.r_version > 0, _r_debug.r_map != 0);
    text("/proc/self/cmdline"); text("/proc/self/comm"); char b[300] = { 0 }; readlink("/proc/self/exe", b, 299); puts(base(b)); char *real = realpath(argv[0], 0); printf("%d\n", strcmp(real, b)); printf("%s %s\n", (char *)getauxval(AT_EXECFN), program_invocation_name);
    ElfW(Phdr) *ph = (void *)getauxval(AT_PHDR); printf("phdr %d %ld\n", ph[0].p_type, getauxval(AT_PHNUM)); ElfW(Ehdr) *eh = (void *)getauxval(AT_BASE); printf("base %d\n", eh && memcmp(eh, "\177ELF", 4) == 0); extern char _start[]; printf("entry %d\n", getauxval(AT_ENTRY) == (long)_start); Dl_info i; printf("%d\n", dladdr((void *)getauxval(AT_SYSINFO_EHDR), &i));
    for (const char **n = (const char *[]) { "libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "libdl.so.2", "librt.so.1", "linux-vdso.so.1", "libresolv.so.2", "libutil.so.1", 0 }; *n; n++) { void *h = dlopen(*n, RTLD_NOW | RTLD_NOLOAD); printf("%s %d\n", *n, h != 0); } printf("%d %d\n", dlsym(dlopen("libc.so.6", RTLD_NOW), "puts") == dlsym(RTLD_DEFAULT, "puts"), (void *)puts == dlsym(RTLD_DEFAULT, "puts"));
    pid_t p; if (!(p = fork())) { for (int f = 3; f < 1024; f++) close(f); _exit(!opens("./p.so")); } printf("descriptors closed: %d\n", status(p));
    if (!(p = fork())) { struct rlimit r = { 64, 64 }; setrlimit(RLIMIT_NOFILE, &r); for (int f = 0; f < 70; f++) open("/dev/null", O_RDONLY); _exit(!opens("./p.so")); } printf("none left: %d\n", status(p));
    if (!(p = fork())) { mkdir("root", 0755); if (system("cp q.so root/p.so")) _exit(9); if (chroot("root") || chdir("/")) _exit(77); _exit(!opens("/p.so")); } printf("chroot: %d\n", status(p));
    if (!(p = fork())) { chdir("sub"); _exit(!opens("./p.so")); } printf("chdir: %d\n", status(p)); if (!(p = fork())) { prctl(PR_SET_DUMPABLE, 0); _exit(!opens("./p.so")); } printf("not dumpable: %d\n", status(p)); if (!(p = fork())) { setgid(65534); if (setuid(65534)) _exit(9); _exit(!opens("./secret.so")); } printf("another user: %d\n", status(p));
    if (!(p = fork())) { struct rlimit r = { 1 << 20, 1 << 20 }; setrlimit(RLIMIT_AS, &r); _exit(!opens("./p.so")); } printf("no room: %d\n", status(p)); if (!(p = fork())) { setsid(); _exit(!opens("./p.so")); } printf("session: %d\n", status(p));
    int pipes[2]; pipe(pipes); if (!fork()) { prctl(PR_SET_NAME, "late"); if (!fork()) { setsid(); close(pipes[0]); dup2(open("/dev/null", O_RDWR), 0); usleep(500000); void *h = dlopen("./late.so", RTLD_NOW); FILE *f = fopen("daemon", "w"); int (*g)(void) = h ? (int (*)(void))dlsym(h, "plug") : 0; fprintf(f, "%d %s\n", g ? g() : -1, h ? "-" : dlerror()); Dl_info d; fprintf(f, "%d %d\n", dladdr((void *)main, &d), dlsym(RTLD_DEFAULT, "puts") != 0); fclose(f); char *e = getenv("HOME"); (void)e; _exit(0); } _exit(0); } wait(0); close(pipes[1]); if (argc > 1) return 0; read(pipes[0], b, 1); puts("daemon done"); return 0;
}
END
echo 'int plug(void) { return 1; }' >p.c; gcc -shared -fPIC p.c -o p.so; cp p.so secret.so; cp p.so late.so; chmod 600 secret.so; mkdir sub; sed 's/1/2/' p.c >q.c; gcc -shared -fPIC q.c -o q.so; sed 's/1/3/' p.c >r.c; gcc -shared -fPIC r.c -o sub/p.so; gcc -w t.c -o t -Wl,--no-as-needed -lz -lm
#== run
chmod 755 .; $RUN ./t; echo "status $?"; cat daemon; rm -f daemon; $RUN ./t leave; echo "status $?"; for i in $(seq 40); do [ -s daemon ] && break; sleep .1; done; cat daemon
