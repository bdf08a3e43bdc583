//: main -no-pie -fno-pic
//: musl
//: stdout "to stdout"

#include <stdio.h>
int main(void) {
    setvbuf(stdout, NULL, _IOFBF, 64);
    fputs("to ", stdout);
    fputs("not shown\n", stderr);
    fprintf(stdout, "%s\n", "stdout");
}
