/* A plugin that says when it begins and ends, and refers to itself, to libc and to nobody. */
#include <stdio.h>

int value = 1;
extern int nowhere(void) __attribute__((weak));

#ifdef BORROWS
extern int lent;

int *borrow(void)
{
    return &lent;
}
#else
int lent = 2;
#endif

int answer(void)
{
    return nowhere ? nowhere() : value;
}

__attribute__((constructor)) static void begin(void)
{
    fputs("begin " NAME "\n", stderr);
}

__attribute__((destructor)) static void end(void)
{
    fputs("end " NAME "\n", stderr);
}
