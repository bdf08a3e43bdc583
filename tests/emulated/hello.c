#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <errno.h>
__thread int counter = 7;
static int cmp(const void *a, const void *b) { return *(int*)a - *(int*)b; }
static void bye(void) { puts("bye"); }
int main(int argc, char **argv) {
  int v[] = {5, 3, 9, 1};
  atexit(bye);
  qsort(v, 4, sizeof *v, cmp);
  printf("hello %d %s %d %d %.4f tls %d\n", argc, argv[1] ? argv[1] : "-", v[0], v[3], sqrt(3.0*argc), counter);
  char *m = malloc(1 << 20); memset(m, 1, 1 << 20);
  FILE *f = fopen("/nonexistent", "r"); printf("%p %s\n", (void*)f, strerror(errno));
  return 42;
}
