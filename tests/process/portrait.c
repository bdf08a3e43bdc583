// What a program sees of its own process, but for addresses: maps as permissions and names, sorted by the test.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

int data = 5;
char bss[100000];
const char *constant[2] = {"relocated", "word"};
static __thread int tls = 7;

static void *thread(void *arg)
{
    tls += 1;
    return (void *)(long)(tls + *(int *)arg);
}

static void file(const char *path, const char *prefixes)
{
    char line[4096];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        char key[64] = " ";
        if (sscanf(line, "%60[^:]", key + 1) == 1 && strstr(prefixes, strcat(key, " ")))
            fputs(line, stdout);
    }
    if (f)
        fclose(f);
}

int main(int argc, char **argv, char **envp)
{
    char buffer[8192];
    int n = readlink("/proc/self/exe", buffer, sizeof buffer - 1);
    printf("exe %.*s\nexecfn %s\n", n, buffer, (char *)getauxval(AT_EXECFN));
    FILE *f = fopen("/proc/self/comm", "r");
    printf("comm %s", fgets(buffer, 99, f));
    fclose(f);
    for (int i = 0; i <= argc; i++)
        printf("argv %s\n", argv[i] ? argv[i] : "(null)");
    for (char **e = envp; *e; e++)
        printf("env %s\n", *e);

    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof bss; i++)
        sum += bss[i];
    printf("bss %u data %d %s %s tls %d\n", sum, data, constant[0], constant[1], tls);

    // The vector on the stack and the kernel's copy of it must agree.
    unsigned long *auxv = (unsigned long *)envp, saved[128];
    while (*auxv++)
        ;
    int fd = open("/proc/self/auxv", O_RDONLY);
    n = read(fd, saved, sizeof saved) / sizeof saved[0];
    close(fd);
    int same = 0;
    for (int i = 0; i < n && auxv[i]; i += 2) {
        same += auxv[i] == saved[i] && auxv[i + 1] == saved[i + 1];
        switch (auxv[i]) {
        case AT_SYSINFO: case AT_SYSINFO_EHDR: case AT_PHDR: case AT_BASE: case AT_ENTRY:
        case AT_RANDOM: case AT_EXECFN: case AT_PLATFORM: case AT_BASE_PLATFORM: case 27: case 28:
            printf("aux %lu address\n", auxv[i]);
            break;
        default:
            printf("aux %lu = %#lx\n", auxv[i], auxv[i + 1]);
        }
    }
    printf("auxv same %d\n", same);
    if (getenv("PORTRAIT_RANDOM")) {
        unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
        for (int i = 0; i < 16; i++)
            printf("%02x", random[i]);
        printf(" %p %p %p\n", (void *)main, (void *)getauxval(AT_BASE), (void *)&argc);
    }

    char *before = sbrk(0), *got = sbrk(100000);
    if (got != (char *)-1) {
        printf("brk %d\n", before == got);
        memset(got, 1, 100000);
    }
    for (int i = 0; i < 1100; i++)
        if (fcntl(i, F_GETFD) >= 0)
            printf("fd %d\n", i);
    fd = open("/proc/self/cmdline", O_RDONLY);
    n = read(fd, buffer, sizeof buffer);
    close(fd);
    for (int i = 0; i < n; i++)
        putchar(buffer[i] ? buffer[i] : '\n');
    fd = open("/proc/self/environ", O_RDONLY);
    printf("environ %d\n", (int)read(fd, buffer, sizeof buffer));
    close(fd);
    file("/proc/self/status", " Name TracerPid SigPnd ShdPnd SigBlk SigIgn SigCgt Seccomp Threads NoNewPrivs ");

    pthread_t id;
    void *result = 0;
    int arg = 34;
    if (!pthread_create(&id, 0, thread, &arg))
        pthread_join(id, &result);
    printf("thread %ld, main %d\n", (long)result, tls);
    f = fopen("/proc/self/personality", "r");
    printf("personality %s", f ? fgets(buffer, 99, f) : "\n");
    f = fopen("/proc/self/maps", "r");
    while (f && fgets(buffer, sizeof buffer, f)) {
        char rights[8], path[4096] = "";
        unsigned long low, high, offset;
        sscanf(buffer, "%lx-%lx %7s %lx %*s %*s %4095[^\n]", &low, &high, rights, &offset, path);
        if (getenv("PORTRAIT_RANDOM"))
            fputs(buffer, stdout);
        else if (path[0])
            printf("map %s %lx %lx %s\n", rights, strstr("[stack] [heap]", path) ? 0 : high - low, offset, path);
    }
    fflush(stdout);
    fprintf(stderr, "done\n");
    return argc + 40;
}
