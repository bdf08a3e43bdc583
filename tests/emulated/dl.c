// Everything <dlfcn.h> and <link.h> offer a program, as far as the answers are the same under every loader and at every address.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int who(void);
extern int wrapped(int);
static const char *base(const char *path) { const char *slash = strrchr(path, '/'); return slash ? slash + 1 : path; }
static void failed(const char *what) { char *text = dlerror(); printf("%s: %s\n", what, text ? base(text) : "no error"); }
int from_main(void) { return 5; }
static int each(struct dl_phdr_info *info, size_t size, void *data) {
  (void)data;
  if (!strstr(info->dlpi_name, "vdso") && !strstr(info->dlpi_name, "gate") && !strstr(info->dlpi_name, "/ld"))
    printf("[%s %d %d %d]", base(info->dlpi_name), size >= sizeof *info, info->dlpi_phnum > 0, info->dlpi_tls_data != 0);
  return 0;
}
static int stop(struct dl_phdr_info *info, size_t size, void *data) { (void)info, (void)size; return ++*(int *)data == 2 ? 77 : 0; }

int main(int argc, char **argv) {
  (void)argc;
  setvbuf(stdout, 0, _IONBF, 0);  // each namespace has a libc of its own under ld.so
  // symbols
  printf("who %d, default %d\n", who(), ((int (*)(void))dlsym(RTLD_DEFAULT, "who"))());
  printf("next of main %d, wrapped %d\n", ((int (*)(void))dlsym(RTLD_NEXT, "who"))(), wrapped(1));
  void *a = dlopen("liba.so", RTLD_NOW), *again = dlopen("liba.so", RTLD_LAZY), *self = dlopen(0, RTLD_LAZY);
  printf("same handle %d, program is another %d\n", a == again, a != self);
  printf("versions %d %d\n", ((int (*)(void))dlvsym(a, "both", "V1"))(), ((int (*)(void))dlvsym(a, "both", "V2"))());
  printf("plain %d\n", ((int (*)(void))dlsym(a, "both"))());
  if (!dlvsym(a, "both", "V3")) failed("V3");
  if (!dlsym(a, "nothing")) failed("nothing");
  failed("then");
  if (!dlsym(self, "absent")) failed("absent");
  printf("in main %d\n", ((int (*)(void))dlsym(self, "from_main"))());
  // errors
  if (!dlopen("libabsent.so", RTLD_NOW)) failed("dlopen");
  if (!dlopen("liba.so", 0)) failed("mode");
  printf("noload %d\n", dlopen("libplug.so", RTLD_NOW | RTLD_NOLOAD) == 0);
  failed("noload");
  // thread-local
  int *tls = dlsym(a, "tls_of_a");
  printf("tls %d\n", *tls);
  // addresses
  Dl_info info;
  struct link_map *map = 0;
  const ElfW(Sym) *entry = 0;
  int known = dladdr1((void *)who, &info, (void **)&entry, RTLD_DL_SYMENT);
  printf("dladdr1 %d %s %s %d %d\n", known, base(info.dli_fname), info.dli_sname, info.dli_saddr == (void *)who, entry && entry->st_size > 0);
  known = dladdr1(dlsym(a, "both"), &info, (void **)&map, RTLD_DL_LINKMAP);
  printf("dladdr1 %d %s %d %d\n", known, base(map->l_name), map->l_addr == (ElfW(Addr))info.dli_fbase, map->l_ld != 0);
  known = dladdr((void *)from_main, &info);
  printf("dladdr %d %s %s\n", known, strcmp(info.dli_fname, argv[0]) ? info.dli_fname : "argv[0]", info.dli_sname);
  known = dladdr((void *)printf, &info);
  printf("dladdr %d %s\n", known, base(info.dli_fname));
  printf("dladdr %d\n", dladdr(&info, &info));
  // dlinfo
  struct link_map *found = 0;
  Lmid_t id = 9;
  char origin[4096] = "";
  size_t number = 99;
  void *data = 0;
  const ElfW(Phdr) *headers = 0;
  int result = dlinfo(a, RTLD_DI_LINKMAP, &found);
  printf("dlinfo %d %d\n", result, found == map && (void *)found == a);
  result = dlinfo(a, RTLD_DI_LMID, &id);
  printf("dlinfo %d %ld\n", result, (long)id);
  result = dlinfo(a, RTLD_DI_ORIGIN, origin);
  printf("dlinfo %d %d\n", result, !strncmp(origin, map->l_name, strlen(origin)) && map->l_name[strlen(origin)] == '/');
  result = dlinfo(a, RTLD_DI_TLS_MODID, &number);
  printf("dlinfo %d %d\n", result, number > 0);
  result = dlinfo(a, RTLD_DI_TLS_DATA, &data);
  printf("dlinfo %d %d\n", result, (char *)tls >= (char *)data && (char *)tls < (char *)data + 4096);
  result = dlinfo(a, 11 /* RTLD_DI_PHDR, glibc 2.35 */, &headers);
  printf("dlinfo %d %d\n", result > 0, headers && headers->p_type <= 0x7fffffff);
  Dl_serinfo size, *paths;
  result = dlinfo(self, RTLD_DI_SERINFOSIZE, &size);
  paths = malloc(size.dls_size);
  memcpy(paths, &size, sizeof size);
  result += dlinfo(self, RTLD_DI_SERINFO, paths);
  printf("dlinfo %d, first of several %d: %s\n", result, paths->dls_cnt > 1, base(paths->dls_serpath[0].dls_name) == paths->dls_serpath[0].dls_name ? "" : "a path");
  if (dlinfo(a, 99, &data) < 0) failed("dlinfo 99");
  // the list
  int seen_a = 0;
  for (struct link_map *m = ((struct link_map *)self); m; m = m->l_next) seen_a += m == found && m->l_prev && m->l_prev->l_next == m;
  printf("in the list %d\n", seen_a);
  dl_iterate_phdr(each, 0);
  int count = 0;
  printf(" stopped %d\n", dl_iterate_phdr(stop, &count));
  // namespaces
  void *other = dlmopen(LM_ID_NEWLM, "liba.so", RTLD_NOW);
  if (!other) { failed("dlmopen"); return 1; }
  dlinfo(other, RTLD_DI_LMID, &id);
  int (*bump)(void) = (int (*)(void))dlsym(a, "bump"), (*bump2)(void) = (int (*)(void))dlsym(other, "bump");
  bump(), bump();
  printf("another copy %d, %d %d, number %d\n", other != a, bump(), bump2(), id > 0);
  void *third = dlmopen(id, "libplug.so", RTLD_NOW);
  printf("same namespace %d, plug %d\n", third != 0, third ? ((int (*)(void))dlsym(third, "plug"))() : -1);
  if (!dlsym(other, "from_main")) failed("not seen from there");
  printf("in base %d\n", dlopen("libplug.so", RTLD_NOW | RTLD_NOLOAD) == 0);
  if (!dlmopen(44, "libplug.so", RTLD_NOW)) failed("no such namespace");
  printf("closed %d %d\n", dlclose(third), dlclose(other));
  // closing
  printf("closed %d %d\n", dlclose(again), dlclose(a));
  printf("gone %d\n", dlopen("liba.so", RTLD_NOW | RTLD_NOLOAD) == 0);
  printf("program %d\n", dlclose(self));
  return 0;
}
