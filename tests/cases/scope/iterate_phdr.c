//: lib libb.so
//: lib liba.so -lb
//: lib libd.so
//: main -la
//: stdout "main liba.so libb.so libd.so"
//: stdout "adds 4"

// Own objects in load order with their program headers; the count of objects ever loaded goes up with dlopen.
#define _GNU_SOURCE
#ifdef MAIN
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
static int own, loads;
static int each(struct dl_phdr_info *info, size_t size, void *data) {
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    (void)size, (void)data;
    loads = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) loads += info->dlpi_phdr[i].p_type == PT_LOAD;
    if (!*name && loads && !own) printf("main"), ++own;
    else if (strlen(name) == 7 && !strncmp(name, "lib", 3) && strchr("abd", name[3]) && loads)
        printf(" %s", name), ++own;
    return 0;
}
int main(void) {
    dlopen("libd.so", RTLD_NOW);
    dl_iterate_phdr(each, 0);
    printf("\nadds %d\n", own);
}
#else
int unused;
#endif
