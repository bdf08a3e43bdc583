//: main
//: env LD_PRELOAD=$DIR/libgone.so
//: stdout started
//: stderr cannot be preloaded

#include <stdio.h>
int main(void) { puts("started"); }
