#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <errno.h>
#include <pthread.h>
#include <dlfcn.h>
#include <link.h>
extern int counter; extern int bump(int); extern __thread int tls_value; int *own_tls(void);
static __thread int here = 5;
__attribute__((constructor)) static void up(void) { puts("main up"); }
__attribute__((destructor)) static void down(void) { puts("main down"); }
static void bye(void) { puts("atexit"); }
static int cmp(const void *a, const void *b) { return *(int *)a - *(int *)b; }
static void *thread(void *a) { here += *(int *)a; tls_value++; return (void *)(long)(here + tls_value); }
static int each(struct dl_phdr_info *i, size_t n, void *d) { *(int *)d += *i->dlpi_name != 0; return 0; }
int main(int c, char **v) {
  atexit(bye);
  printf("%d %s %.4f\n", c, c > 1 ? v[1] : "-", sqrt(3));
  int a[] = {3, 1, 2}; qsort(a, 3, 4, cmp); printf("%d%d%d\n", a[0], a[1], a[2]);
  printf("%d %d %d\n", bump(2), counter, tls_value + *own_tls());
  errno = 0; printf("%d %d\n", fopen("/nonexistent", "r") == 0, errno == ENOENT);
  pthread_t t[4]; int n[4];
  for (int i = 0; i < 4; i++) { n[i] = i; pthread_create(t + i, 0, thread, n + i); }
  for (int i = 0; i < 4; i++) { void *r; pthread_join(t[i], &r); printf("%ld ", (long)r); }
  puts("");
  void *h = dlopen("libplug.so", RTLD_NOW); if (!h) { puts(dlerror()); return 9; }
  int (*plug)(int) = (int (*)(int))dlsym(h, "plug"); printf("plug %d %d\n", plug(3), plug(4));
  printf("%d\n", dlsym(h, "nothing") == 0); puts(dlerror());
  printf("%d\n", dlclose(h));
  printf("%d\n", dlopen("libabsent.so", RTLD_NOW) == 0); puts(dlerror());
  Dl_info info; int found = dladdr((void *)bump, &info) != 0; printf("%d %s\n", found, info.dli_sname);
  int count = 0; dl_iterate_phdr(each, &count); printf("%d objects\n", count);
  return 42;
}
