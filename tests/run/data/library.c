#include <stdio.h>
int value = 7;
__thread int own = 11;
int function(int a) { return a * value + own; }
__attribute__((constructor)) static void begin(void) { puts("library begins"); }
__attribute__((destructor)) static void end(void) { puts("library ends"); }
