// The dlopen family, in threads and in a forked child.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*next)(void);
int chosen(void) { return 1; }

static void *call_thrice(void *unused) {
    next(), next();
    return (void *)(long)next();
}

static void *open_and_close(void *number) {
    char name[32];
    snprintf(name, sizeof name, "./plugin%ld.so", (long)number);
    for (int i = 0; i < 20; ++i) {
        void *handle = dlopen(name, RTLD_NOW);
        if (!handle) {
            puts(dlerror());
            break;
        }
        ((int (*)(void))dlsym(handle, "next"))();
        dlclose(handle);
    }
    return 0;
}

static void in_threads(void *(*work)(void *)) {
    pthread_t threads[4];
    for (long i = 0; i < 4; ++i) pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < 4; ++i) {
        void *result;
        pthread_join(threads[i], &result);
        printf("%ld ", (long)result);
    }
    puts("");
}

static int show(struct dl_phdr_info *info, size_t size, void *data) {
    const char *name = strrchr(info->dlpi_name, '/');
    printf(" %s:%d:%llu:%llu", name ? name + 1 : info->dlpi_name, info->dlpi_phnum, info->dlpi_adds, info->dlpi_subs);
    return 0;
}

static int maps(const char *what) {
    char line[4096];
    int found = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, file)) found += strstr(line, what) != 0;
    fclose(file);
    return found != 0;
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    printf("%d\n", dlopen("./plugin0.so", RTLD_NOW | RTLD_NOLOAD) != 0);
    void *handle = dlopen("./plugin0.so", RTLD_NOW);
    if (!handle) return puts(dlerror()), 1;
    next = (int (*)(void))dlsym(handle, "next");
    printf("%d\n", dlopen("./plugin0.so", RTLD_NOW | RTLD_NOLOAD) == handle);
    in_threads(call_thrice);
    printf("%d, counter %d\n", next(), *(int *)dlsym(handle, "counter"));
    int (*near)(void) = (int (*)(void))dlsym(handle, "next_near");
    printf("%d\n", near() + near());
    int (*described)(void) = (int (*)(void))dlsym(dlopen("./described.so", RTLD_NOW), "next");
    printf("%d\n", described() + described());
    in_threads(open_and_close);

    void *asks = dlopen("./asks.so", RTLD_LAZY);
    printf("asks %d\n", asks != 0);
    int (*deep)(void) = (int (*)(void))dlsym(dlopen("./deep.so", RTLD_NOW | RTLD_DEEPBIND), "deep");
    printf("deep %d\n", deep());

    pid_t child = fork();
    if (!child) {
        void *own = dlopen("./plugin3.so", RTLD_NOW);
        printf("child %d\n", ((int (*)(void))dlsym(own, "next"))());
        dlclose(own);
        printf("child %d\n", dlopen("libbz2.so.1.0", RTLD_NOW) != 0);
        exit(4);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d, libbz2 %d\n", WEXITSTATUS(status), maps("libbz2"));

    dlopen("libbz2.so.1.0", RTLD_NOW | RTLD_GLOBAL);
    printf("global %d\n", dlsym(RTLD_DEFAULT, "BZ2_bzCompressInit") != 0);
    child = vfork();
    if (!child) {
        execl("/bin/echo", "echo", "another program", (char *)0);
        _exit(9);
    }
    waitpid(child, &status, 0);

    printf("%d\n", dlvsym(RTLD_DEFAULT, "memcpy", "GLIBC_2.14") != 0);
    printf("%d\n", dlvsym(RTLD_DEFAULT, "memcpy", "GLIBC_9") != 0);
    puts(dlerror());
    printf("%d\n", dlsym(handle, "nothing") != 0);
    puts(dlerror());
    printf("%d\n", dlerror() == 0);
    printf("%d\n", dlopen("./nothing.so", RTLD_NOW) != 0);
    puts(dlerror());
    printf("%d\n", dlopen("./plugin0.so", 0) != 0);
    puts(dlerror());

    Dl_info info;
    const ElfW(Sym) * symbol;
    struct link_map *map;
    printf("%d\n", dladdr1((void *)next, &info, (void **)&symbol, RTLD_DL_SYMENT));
    printf("%s %s %d %d\n", info.dli_fname, info.dli_sname, info.dli_saddr == next, ELF64_ST_TYPE(symbol->st_info));
    printf("%d\n", dladdr1((void *)main, &info, (void **)&map, RTLD_DL_LINKMAP));
    printf("%s %s <%s>\n", info.dli_fname, info.dli_sname, map->l_name);
    printf("%d %s\n", dladdr((void *)puts, &info), info.dli_sname);
    char origin[4096];
    size_t id;
    void *block;
    dlinfo(handle, RTLD_DI_ORIGIN, origin);
    dlinfo(handle, RTLD_DI_TLS_MODID, &id);
    dlinfo(handle, RTLD_DI_TLS_DATA, &block);
    dlinfo(handle, RTLD_DI_LINKMAP, &map);
    printf("%s %d %d %s\n", origin, id > 0, block != 0, map->l_name);

    dl_iterate_phdr(show, 0);
    puts("");
    printf("close %d\n", dlclose(asks));
    printf("asks %d plugin1 %d\n", maps("asks.so"), maps("plugin1.so"));
    return 0;
}
