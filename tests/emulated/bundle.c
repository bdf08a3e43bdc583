/* What test_bundle.py runs: a program with a library of its own. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>
extern int shared, *where;
extern __thread int counter;
extern char **environ;
int ask(void), bump(void), twice(int (*)(int), int);
void *own_printf(void);
__thread int mine = 11;
__thread char *text = "text";
int which(void) { return 2; }
static int add(int x) { return x + shared; }
static _Unwind_Reason_Code frame(struct _Unwind_Context *c, void *count) { ++*(int *)count; return _URC_NO_REASON; }
static int depth(int x) { int count = 0; _Unwind_Backtrace(frame, &count); return x * 100 + count; }
static void end(void) { printf("at exit\n"); }
static void *work(void *arg) { counter += 5; mine++; return (void *)(long)(bump() + mine); }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv) {
  int numbers[] = {3, 1, 2};
  void *r, *handle, *again;
  pthread_t t;
  atexit(end);
  printf("%d words, %s; %d %d %d\n", argc, argv[argc - 1], where == &shared, shared, ask());
  printf("%d %d %s %d\n", bump(), twice(add, 1), text, own_printf() == (void *)printf);
  printf("%d frames\n", twice(depth, 0));
  qsort(numbers, 3, sizeof *numbers, compare);
  printf("%d%d%d\n", numbers[0], numbers[1], numbers[2]);
  pthread_create(&t, 0, work, 0);
  pthread_join(t, &r);
  printf("thread %ld, here %d %d\n", (long)r, counter, mine);
  errno = 0;
  printf("%d %d\n", fopen("/nonexistent", "r") == 0, errno == ENOENT);
  printf("HOME %s, environ %d\n", getenv("HOME") ? "set" : "unset", environ != 0);
  handle = dlopen("libown.so", RTLD_NOW);
  printf("opened %d\n", handle && *(int *)dlsym(handle, "shared") == shared && dlsym(handle, "bump") == (void *)bump);
  again = dlopen(argv[1], RTLD_NOW);
  if (!again) printf("%s\n", dlerror());
  printf("%d\n", ((int (*)(int))dlsym(again, "plugin"))(10));
  printf("%d %d\n", shared, dlsym(RTLD_DEFAULT, "which") == (void *)which);
  fprintf(stdout, "%s\n", strerror(ENOENT));
  return 42;
}
