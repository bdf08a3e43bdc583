/* Opened by the program of test_bundle.py; needs the library that is in the bundle. */
#include <stdio.h>
extern int shared;
int bump(void);
int plugin(int x) { shared += x; printf("plugin %d\n", bump()); return shared; }
