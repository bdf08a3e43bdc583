/* dump(PATH): every module's writable segments as they are in memory, for test_foreign.py.
   A module is a line "name base", a segment a line "=p_vaddr p_memsz" with so many bytes behind it. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

static void text(int fd, const char *s) {
    unsigned long n = 0;
    while (s[n])
        n++;
    write(fd, s, n);
}

static void number(int fd, unsigned long value) {
    char out[20], *at = out + sizeof out;
    *--at = 0;
    do
        *--at = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    text(fd, " ");
    text(fd, at);
}

static int module(struct dl_phdr_info *info, size_t size, void *file) {
    int fd = *(int *)file;
    (void)size;
    text(fd, "module ");
    text(fd, info->dlpi_name);
    number(fd, info->dlpi_addr);
    text(fd, "\n");
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_W))
            continue;
        text(fd, "segment");
        number(fd, p->p_vaddr);
        number(fd, p->p_memsz);
        text(fd, "\n");
        write(fd, (void *)(info->dlpi_addr + p->p_vaddr), p->p_memsz);
        text(fd, "\n");
    }
    return 0;
}

void dump(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dl_iterate_phdr(module, &fd);
    close(fd);
}
