/* A library of test_bundle.py: data, thread-local storage, initialisers, a symbol that the program overrides. */
#include <stdio.h>
int shared = 3;
int *where = &shared;
__thread int counter = 7;
static __thread int local = 1;
int which(void) { return 1; }
int ask(void) { return which(); }
int bump(void) { local += 2; return ++counter * 100 + local; }
int twice(int (*f)(int), int x) { return f(f(x)); }
void *own_printf(void) { return (void *)printf; }
static void up(void) __attribute__((constructor));
static void up(void) { shared++; printf("library up\n"); }
static void down(void) __attribute__((destructor));
static void down(void) { printf("library down %d\n", shared); }
