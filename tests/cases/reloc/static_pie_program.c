//: main -static-pie
//: args one
//: arch x86_64 i386 aarch64
//: stdout "2 one pointer"

#include <stdio.h>
static const char *text = "pointer";
int main(int argc, char **argv) { printf("%d %s %s\n", argc, argv[1], text); }
