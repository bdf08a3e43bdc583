//: main -no-pie -fno-pic
//: musl
//: env SHOWN=yes
//: stdout "SHOWN=yes SET=1"

// environ is one of three names of one object in libc; the copy serves all of them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char **environ;
int main(void) {
    const char *shown = "none", *set = "none";
    setenv("SET", "1", 1);
    for (char **e = environ; *e; ++e) {
        if (!strncmp(*e, "SHOWN=", 6)) shown = *e;
        if (!strncmp(*e, "SET=", 4)) set = *e;
    }
    printf("%s %s\n", shown, set);
}
