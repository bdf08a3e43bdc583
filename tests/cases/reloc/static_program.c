//: main -static
//: args one
//: musl
//: stdout "2 one"

#include <stdio.h>
int main(int argc, char **argv) { printf("%d %s\n", argc, argv[1]); }
