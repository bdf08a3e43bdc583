//: lib liba.so
//: main
//: stdout "origin ok, link map ok, namespace 0"

#define _GNU_SOURCE
#ifdef LIB_A
int unused;
#else
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    char origin[4096];
    struct link_map *map;
    Lmid_t id = -1;
    void *a = dlopen("liba.so", RTLD_NOW);
    dlinfo(a, RTLD_DI_ORIGIN, origin);
    dlinfo(a, RTLD_DI_LINKMAP, &map);
    dlinfo(a, RTLD_DI_LMID, &id);
    size_t n = strlen(origin);
    int same = !strncmp(map->l_name, origin, n) && !strcmp(map->l_name + n, "/liba.so");
    printf("origin %s, link map %s, namespace %ld\n", same ? "ok" : origin, map->l_ld ? "ok" : "empty", (long)id);
}
#endif
